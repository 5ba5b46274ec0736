// The slices of the local test federation as the aggregate tells them to their users: it has no calls for operators yet.
import { explain } from '../../base/errors.js'
import { sameUrn } from '../../base/urn.js'
import { AmError } from '../am-client.js'
import { vmPids } from '../demo/processes.js'
import { nodesOf, SliceClient } from '../demo/slice-client.js'
import { findAccess } from '../slice/access.js'
import { rowOf, type SnapshotRow } from '../slice/catalogue.js'
import { connected } from '../slice/command.js'
import { sentenceOf } from '../slice/errors.js'
import { credentialsIn } from '../slice/federation-files.js'
import type { SliceTools } from '../slice/tools.js'
import { layoutOf } from '../up/layout.js'

/** pid 0: no process on this machine. */
export interface NodeStatus { name: string; state: string; says: string; pid: number }
export interface SliceStatus {
  slice: string
  user: string
  nodes: NodeStatus[]
  snapshots: number
  last?: SnapshotRow
  longestPauseMs: number
  bytes: number
  /** Why it cannot be told; '' where all is told. */
  error: string
}

/** Each slice once, seen by the first user who has a credential for it. */
export async function slicesOf(tools: SliceTools, flags: { state: string }): Promise<SliceStatus[]> {
  const credentials = credentialsIn(layoutOf(flags.state).federation)
  const firsts = credentials.filter((c, i) => credentials.findIndex((d) => d.slice === c.slice) === i)
  return Promise.all(firsts.map(async ({ slice, user }) => {
    const nothing: SliceStatus = { slice, user, nodes: [], snapshots: 0, longestPauseMs: 0, bytes: 0, error: '' }
    try {
      return { ...nothing, ...await look(tools, { ...flags, slice, user }) }
    } catch (error) {
      if (error instanceof AmError && error.geniCode === 12) return nothing
      return { ...nothing, error: sentenceOf(error) ?? explain(error) }
    }
  }))
}

async function look(tools: SliceTools, flags: { state: string; slice: string; user: string }): Promise<Partial<SliceStatus>> {
  const access = findAccess(flags, tools.clock.now())
  const am = connected(tools, access)
  try {
    const client = new SliceClient(am, access.sliceUrn, access.credentialXml, tools.clock)
    const slivers = await client.status()
    const nodes = nodesOf(await client.describe())
    const rows = slivers.some((s) => s.allocation === 'geni_provisioned') ? (await client.snapshots()).map(rowOf) : []
    const ids = slivers.map((s) => s.urn.split('+').at(-1)!)
    const pids = vmPids(ids)
    const last = rows.at(-1)
    return {
      nodes: slivers.map((s, i) => {
        const name = nodes.find((n) => sameUrn(n.sliver, s.urn))?.clientId ?? s.urn
        return { name, state: s.operational, says: s.error || s.resourceStatus, pid: pids.get(ids[i]!) ?? 0 }
      }),
      snapshots: rows.length, ...(last ? { last } : {}), longestPauseMs: Math.max(0, ...rows.map((r) => r.longestPauseMs)),
      bytes: rows.reduce((sum, r) => sum + r.bytes, 0),
    }
  } finally {
    am.close()
  }
}
