// The colour rule: what a port does with a frame, given the epochs of receiver and sender. The heart of the cut;
// docs/cut-protocol.md says why it makes a snapshot consistent (Lai and Yang 1987, with holding added).

export type Epoch = number
export type Verdict = 'deliver' | 'deliver-and-record' | 'hold'

/** What a port in epoch `mine` does with a frame that was sent in epoch `theirs`. */
export function verdict(mine: Epoch, theirs: Epoch): Verdict {
  if (theirs === mine) return 'deliver'
  if (theirs < mine) return 'deliver-and-record' // in transit across my cut: channel state
  return 'hold' // its sender has cut and I have not: delivering it would make the cut inconsistent
}

/** Does a frame of epoch `theirs`, delivered in epoch `mine`, belong to the channel state of cut `k`? (hole 10: to every one) */
export function belongsTo(k: Epoch, mine: Epoch, theirs: Epoch): boolean {
  return theirs < k && k <= mine
}
