// What the kernel of a guest and its software count, as one table of names and numbers, and how it is added up over the lives of
// a slice. Pure.

/** Names as the kernel or the software has them. */
export type Figures = Record<string, number>

/**
 * Of /proc/net/snmp and /proc/net/netstat: connections that were reset, or not made, or given up, and retransmission time-outs (RTO). These must
 * stay as they are in a run without snapshots.
 */
export const judged = ['EstabResets', 'AttemptFails', 'TCPAbortOnTimeout', 'TCPTimeouts'] as const
/** OutRsts: resets in answer to anything, such as a probe that comes late for a connection which both ends have closed. */
const told = ['OutRsts', 'RetransSegs', 'TCPLossProbes', 'TCPFastRetrans', 'TCPSlowStartRetrans', 'TCPSpuriousRTOs', 'TCPAbortOnClose', 'TCPAbortOnData', 'OutSegs'] as const
export const tcpNames: readonly string[] = [...judged, ...told]

/** Reads both files, one after the other: pairs of lines, names and then values. */
export function readTcp(text: string): Figures {
  const lines = text.trim().split('\n')
  const all: Figures = {}
  for (const [i, line] of lines.entries()) {
    const [kind, ...names] = line.split(/\s+/)
    const [next, ...values] = lines[i + 1]?.split(/\s+/) ?? []
    if (kind === undefined || kind !== next || !['Tcp:', 'TcpExt:'].includes(kind) || !/^-?\d+$/.test(values[0] ?? '')) continue
    for (const [n, name] of names.entries()) all[name] = Number(values[n])
  }
  const missing = tcpNames.filter((name) => !Number.isFinite(all[name]))
  if (missing.length > 0) throw new Error(`/proc/net/snmp and netstat of a guest do not tell ${missing.join(', ')}`)
  return Object.fromEntries(tcpNames.map((name) => [name, all[name]!]))
}

/** `name value` lines, as the format of Prometheus has them, labels and all. */
export function readMetrics(text: string): Figures {
  return Object.fromEntries([...text.matchAll(/^([a-zA-Z_:][\w:]*(?:\{[^}]*\})?)\s+(-?[\d.e+]+)$/gm)].map((m) => [m[1]!, Number(m[2])]))
}

export function added(...all: Figures[]): Figures {
  const sum: Figures = {}
  for (const figures of all) for (const [name, value] of Object.entries(figures)) sum[name] = (sum[name] ?? 0) + value
  return sum
}

/** What came about between two looks at the same counters. */
export function between(before: Figures, after: Figures): Figures {
  return Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]))
}

/**
 * Counters of a slice over all its lives. A restored guest counts on from its snapshot; so each life is counted from the last look before
 * its snapshot was asked for. What came between that look and the cut is counted in both lives: rather too much than too little.
 */
export class Lives {
  private base: Figures
  private sum: Figures = {}
  private readonly looks = new Map<string, Figures>()

  constructor(first: Figures) {
    this.base = first
  }

  /** Before a snapshot is asked for. */
  beforeSnapshot(id: string, figures: Figures): void {
    this.looks.set(id, figures)
  }

  /** `last`: the last look at the life that ends now. Counting goes on from that snapshot's look, which is returned. */
  restored(id: string, last: Figures): Figures {
    const look = this.looks.get(id)
    if (!look) throw new Error(`nobody has looked before the snapshot ${id}`)
    this.sum = added(this.sum, between(this.base, last))
    this.base = look
    return look
  }

  /** All that came about so far. */
  total(last: Figures): Figures {
    return added(this.sum, between(this.base, last))
  }
}
