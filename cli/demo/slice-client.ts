// One slice at one aggregate, through the AM API v3 and nothing else: what any GENI tool does.
import { Failure } from '../../base/errors.js'
import { until, type Clock } from '../../base/time.js'
import type { Value } from '../../am-plugin/xmlrpc/value.js'
import { rspecNs, userNs } from '../../rspec/names.js'
import { attribute, childrenOf, withXml } from '../../rspec/xml.js'
import type { AmClient } from '../am-client.js'

export interface SliverStatus { urn: string; allocation: string; operational: string; error: string; resourceStatus: string; expires: string }
/** `state`: queued, running, done, failed or pre-empted. */
export interface OperationStatus { id: string; kind: string; state: string; error: string }
export interface NodeLogin { clientId: string; sliver: string; host: string; port: number; username: string }
/** A node of a manifest; logins are there once it is provisioned. */
export interface ManifestNode { clientId: string; sliver: string; logins: { host: string; port: number; username: string; userUrn: string }[] }
export type Struct = Record<string, Value>

const pollMs = 200
const rspecVersion = { type: 'GENI', version: '3' }

export class SliceClient {
  private readonly am: AmClient
  private readonly urn: string
  private readonly credentials: Value
  private readonly clock: Clock

  constructor(am: AmClient, urn: string, credentialXml: string, clock: Clock) {
    this.am = am
    this.urn = urn
    this.credentials = [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: credentialXml }]
    this.clock = clock
  }

  async allocate(rspec: string): Promise<Struct> {
    return (await this.am.geni('Allocate', [this.urn, this.credentials, rspec, {}])) as Struct
  }

  async provision(users: { urn: string; keys: string[] }[]): Promise<Struct> {
    return (await this.am.geni('Provision', [[this.urn], this.credentials, { geni_rspec_version: rspecVersion, geni_users: users }])) as Struct
  }

  /** On the whole slice, or on some of its slivers. */
  async action(action: string, options: Struct = {}, slivers: string[] = [this.urn]): Promise<Struct[]> {
    return (await this.am.geni('PerformOperationalAction', [slivers, this.credentials, action, options])) as Struct[]
  }

  async status(): Promise<SliverStatus[]> {
    return (await this.statusWith()).slivers
  }

  /** With the id of an operation that an action has returned: what has become of it too. */
  async statusWith(operation?: string): Promise<{ slivers: SliverStatus[]; operation: OperationStatus | undefined }> {
    const options: Struct = operation === undefined ? {} : { violin_operation: operation }
    const value = (await this.am.geni('Status', [[this.urn], this.credentials, options])) as Struct
    const slivers = (value['geni_slivers'] as Struct[]).map((s) => ({
      urn: text(s, 'geni_sliver_urn'), allocation: text(s, 'geni_allocation_status'), operational: text(s, 'geni_operational_status'),
      error: text(s, 'geni_error'), resourceStatus: text(s, 'geni_resource_status'), expires: text(s, 'geni_expires'),
    }))
    const told = value['violin_operation'] as Struct | undefined
    return { slivers, operation: told && { id: text(told, 'id'), kind: text(told, 'kind'), state: text(told, 'state'), error: text(told, 'error') } }
  }

  /** Returns the new ends of the slivers. */
  async renew(until: string, asLongAsPossible: boolean): Promise<Struct[]> {
    return (await this.am.geni('Renew', [[this.urn], this.credentials, until, { geni_extend_alap: asLongAsPossible }])) as Struct[]
  }

  async describe(): Promise<string> {
    return text((await this.am.geni('Describe', [[this.urn], this.credentials, { geni_rspec_version: rspecVersion }])) as Struct, 'geni_rspec')
  }

  async delete(slivers: string[] = [this.urn]): Promise<void> {
    await this.am.geni('Delete', [slivers, this.credentials, {}])
  }

  /** The catalogue, newest last. */
  async snapshots(): Promise<Struct[]> {
    const slivers = await this.action('violin_list')
    return (slivers.find((s) => Array.isArray(s['violin_snapshots']))?.['violin_snapshots'] as Struct[] | undefined) ?? []
  }

  /** Waits until every sliver is in `state`. Fails at once when one is in `never`. */
  async waitFor(state: string, withinMs: number, never: string[] = ['geni_failed'], onWait?: (slivers: SliverStatus[]) => void): Promise<SliverStatus[]> {
    let last: SliverStatus[] = []
    const reached = await until(this.clock, withinMs, pollMs, async () => {
      last = await this.status()
      onWait?.(last)
      const bad = last.find((s) => never.includes(s.operational) && s.operational !== state)
      if (bad) throw new Failure('failed', `${bad.urn} is ${bad.operational}: ${bad.error || bad.resourceStatus}`)
      return last.length > 0 && last.every((s) => s.operational === state) ? true : undefined
    })
    if (!reached) throw new Failure('timed-out', `the slice did not become ${state}: ${last.map((s) => `${s.operational} ${s.resourceStatus}`).join('; ')}`)
    return last
  }

  /** Waits until the catalogue has a snapshot that `wanted` picks. */
  async waitForSnapshot(wanted: (snapshot: Struct) => boolean, withinMs: number): Promise<Struct> {
    const found = await until(this.clock, withinMs, pollMs, async () => (await this.snapshots()).find(wanted))
    if (!found) throw new Failure('timed-out', `no such snapshot after ${withinMs / 1000} s: ${(await this.status()).map((s) => s.resourceStatus).join('; ')}`)
    return found
  }
}

/** The nodes of a manifest with all their logins. */
export function nodesOf(manifest: string): ManifestNode[] {
  return withXml(manifest, 'the manifest', (root) => childrenOf(root, rspecNs, 'node').map((node) => {
    const services = childrenOf(node, rspecNs, 'services')
    const urns = new Map(services.flatMap((s) => childrenOf(s, userNs, 'services_user'))
      .map((user) => [attribute(user, 'login') ?? '', attribute(user, 'user_urn') ?? '']))
    const logins = services.flatMap((s) => childrenOf(s, rspecNs, 'login')).map((login) => {
      const username = attribute(login, 'username') ?? ''
      return { host: attribute(login, 'hostname') ?? '', port: Number(attribute(login, 'port')), username, userUrn: urns.get(username) ?? '' }
    })
    return { clientId: attribute(node, 'client_id') ?? '', sliver: attribute(node, 'sliver_id') ?? '', logins }
  }))
}

/** The logins that a manifest offers, one for each node. */
export function loginsOf(manifest: string): NodeLogin[] {
  return nodesOf(manifest).flatMap(({ clientId, sliver, logins: [first] }) =>
    (first ? [{ clientId, sliver, host: first.host, port: first.port, username: first.username }] : []))
}

export function text(struct: Struct, member: string): string {
  const value = struct[member]
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}
