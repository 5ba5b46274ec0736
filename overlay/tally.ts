// Order-free sums over frames: how many, and two 32-bit sums of a mix of (source, seq). Jitter, flooding and emulated
// loss do not matter to them, a lost, invented or exchanged frame does (cut protocol, "Proof").

export interface Tally { n: number; a: number; b: number }

export const emptyTally = (): Tally => ({ n: 0, a: 0, b: 0 })

function scramble(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85eb_ca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35)
  return (x ^ (x >>> 16)) >>> 0
}

export function addTo(tally: Tally, source: number, seq: number): void {
  const low = seq >>> 0
  const high = Math.floor(seq / 0x1_0000_0000)
  const first = scramble(low ^ scramble(source ^ 0x9e37_79b9) ^ high)
  tally.n++
  tally.a = (tally.a + first) >>> 0
  tally.b = (tally.b + scramble(first ^ low ^ 0x5bd1_e995)) >>> 0
}

export function takeFrom(tally: Tally, source: number, seq: number): void {
  const one = emptyTally()
  addTo(one, source, seq)
  tally.n -= 1
  tally.a = (tally.a - one.a) >>> 0
  tally.b = (tally.b - one.b) >>> 0
}

export const sum = (...tallies: Tally[]): Tally =>
  tallies.reduce((s, t) => ({ n: s.n + t.n, a: (s.a + t.a) >>> 0, b: (s.b + t.b) >>> 0 }), emptyTally())

export const equal = (x: Tally, y: Tally): boolean => x.n === y.n && x.a === y.a && x.b === y.b
