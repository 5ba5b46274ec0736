// How the operators' commands find the aggregate and show who they are: on its own machine with the certificate and key that `up`
// has made for it, from elsewhere with those of a user whom `up --operator` has named.
import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { isStruct, type Struct, type Value } from '../../am-plugin/xmlrpc/value.js'
import { Failure, Refusal } from '../../base/errors.js'
import { parseUrn, sameUrn } from '../../base/urn.js'
import type { AmClient } from '../am-client.js'
import { urlOf } from '../slice/access.js'
import { printed, type Answer } from '../slice/command.js'
import { readNamed } from '../slice/federation-files.js'
import type { SliceTools } from '../slice/tools.js'
import { layoutOf } from '../up/layout.js'

export interface OperatorFlags { state: string; am?: string; key?: string; cert?: string; ca?: string; json?: boolean }

/** A sliver and a slice as an operator sees them. */
export interface SliverSeen {
  urn: string
  node: string
  allocation: string
  state: string
  error: string
  says: string
  expires: string
  host: string
  memoryMiB: number
  loginPort: number
  users: string[]
}
export interface SliceSeen {
  urn: string
  uuid: string
  creator: string
  shutdown: boolean
  operation: string
  snapshots: number
  snapshotBytes: number
  slivers: SliverSeen[]
}

/** A command with the options that all operators' commands have. */
export function operatorCommand(tools: SliceTools, name: string, about: { description: string; example: string }): Command {
  return new Command(name).description(about.description)
    .option('--state <dir>', 'state folder of the aggregate on this machine: its own certificate is the operator\'s', tools.stateFolder)
    .option('--am <url>', 'the aggregate (default: the one that is up on the state folder)')
    .option('--key <file>', 'with --cert and --ca: a user whom "violin up --operator URN" has named')
    .option('--cert <file>', 'certificate of that user, with its chain')
    .option('--ca <file>', 'roots that have signed the certificate of the aggregate')
    .option('--json', 'one JSON object on stdout, errors too: {"error": ..., "code": ...}')
    .addHelpText('after', `\nExample:\n  ${about.example}`)
}

/** Connects, does the work, prints what it answers. */
export async function asOperator(tools: SliceTools, flags: OperatorFlags, work: (am: AmClient) => Promise<Answer>): Promise<void> {
  await printed(tools, flags, async () => {
    const { url, key, cert, ca } = accessOf(flags)
    const am = tools.connect({ url, key: readNamed(key, 'the key'), cert: readNamed(cert, 'the certificate'), ca: readNamed(ca, '--ca') })
    try {
      return await work(am)
    } catch (error) {
      const refused = error instanceof Failure && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ECONNREFUSED'
      throw refused ? new Failure('failed', `no aggregate answers at ${url}: start it with violin up --state ${flags.state}`) : error
    } finally {
      am.close()
    }
  })
}

function accessOf(flags: OperatorFlags): { url: string; key: string; cert: string; ca: string } {
  const { key, cert, ca } = flags
  const url = urlOf(flags)
  if (key !== undefined && cert !== undefined && ca !== undefined) return { url, key, cert, ca }
  if (key !== undefined || cert !== undefined || ca !== undefined) {
    throw new Refusal('bad-arguments', 'give --key, --cert and --ca together, or none of them on the aggregate\'s own machine')
  }
  const { federation } = layoutOf(flags.state)
  if (!existsSync(`${federation}/am.key`)) {
    const advice = 'run this where violin up does, or give --am, --key, --cert and --ca'
    throw new Refusal('not-found', `there is no certificate of an aggregate in ${federation}: ${advice}`)
  }
  return { url, key: `${federation}/am.key`, cert: `${federation}/am.pem`, ca: `${federation}/ca.pem` }
}

/** Pages are asked for until there is none left; a thousand of them are half a million slices. */
const mostPages = 1_000

/** Every slice that has slivers, in the order of their URNs. */
export async function allSlices(am: AmClient): Promise<SliceSeen[]> {
  const found: SliceSeen[] = []
  let after = ''
  for (let page = 0; page < mostPages; page++) {
    const value = await am.geni('violin_slices', [{ violin_after: after }])
    if (!isStruct(value) || !Array.isArray(value['violin_slices'])) throw new Failure('failed', 'the aggregate answers with no list of slices')
    found.push(...value['violin_slices'].filter(isStruct).map(sliceOf))
    after = text(value['violin_next'])
    if (after === '') break
  }
  return found.filter((s) => s.slivers.length > 0 || s.shutdown)
}

/** The slice of this URN, or of this name where only one has it. */
export function oneSlice(slices: SliceSeen[], wanted: string): SliceSeen {
  const found = slices.filter((s) => sameUrn(s.urn, wanted) || parseUrn(s.urn)?.name.toLowerCase() === wanted.toLowerCase())
  if (found.length === 1) return found[0]!
  if (found.length > 1) throw new Refusal('bad-arguments', `several slices are called ${wanted}: give one of ${found.map((s) => s.urn).join(', ')}`)
  throw new Refusal('not-found', `there is no slice ${wanted} here: violin slices lists them`)
}

function sliceOf(s: Struct): SliceSeen {
  const slivers = Array.isArray(s['slivers']) ? s['slivers'] : []
  return {
    urn: text(s['urn']), uuid: text(s['uuid']), creator: text(s['creator']), shutdown: s['shutdown'] === true, operation: text(s['operation']),
    snapshots: Number(s['snapshots']), snapshotBytes: Number(s['snapshot_bytes']), slivers: slivers.filter(isStruct).map(sliverOf),
  }
}

function sliverOf(s: Struct): SliverSeen {
  return {
    urn: text(s['geni_sliver_urn']), node: text(s['client_id']), allocation: text(s['geni_allocation_status']), state: text(s['geni_operational_status']),
    error: text(s['geni_error']), says: text(s['geni_resource_status']), expires: text(s['geni_expires']), host: text(s['host']),
    memoryMiB: Number(s['memory_mib']), loginPort: Number(s['login_port']), users: (Array.isArray(s['users']) ? s['users'] : []).map(text),
  }
}

const text = (value: Value | undefined): string => (typeof value === 'string' ? value : '')
