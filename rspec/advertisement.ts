// The advertisement: hosts, sliver types, images, the machine of states and actions, and what snapshots can do here.
import { limits } from '../base/limits.js'
import { formatDuration } from './duration.js'
import { actions, opstateNs, rspecNs, sliverTypes, violinNs, xsiNs } from './names.js'
import { makeUrn } from '../base/urn.js'
import { escapeXml } from './xml.js'

export interface AdvertisedHost {
  name: string
  /** URN of the host. */
  componentId: string
  /** Room for one more VM now? */
  available: boolean
  /** Names of the disk images that nodes there can be made of. */
  diskImages?: readonly string[]
}

export interface AdvertisementOptions {
  /** URN of this aggregate. */
  componentManager: string
  /** The authority part of our URNs. */
  authority: string
  /** For geni_available, pass only those with room. */
  hosts: readonly AdvertisedHost[]
  images: readonly string[]
  defaultImage: string
  /** RFC 3339. */
  generated: string
  /** The operator's quotas of one slice, where they are set. */
  sliceVms?: number
  sliceSnapshotsBytes?: number
}

type Attributes = Record<string, string | number | boolean>
interface State { name: string; actions?: [string, string][]; waits?: [success: string, failure: string] }

const always: [string, string][] = [['violin_list', ''], ['violin_events', ''], ['violin_console', ''], ['violin_set_policy', '']]
const remove: [string, string] = ['violin_delete', '']
/** An empty `next` is the state itself. */
const states: State[] = [
  { name: 'geni_notready', actions: [['geni_start', 'geni_configuring'], ['violin_rollback', 'violin_rolling_back'], remove, ...always] },
  { name: 'geni_configuring', actions: [['geni_start', '']], waits: ['geni_ready', 'geni_failed'] },
  {
    name: 'geni_ready',
    actions: [
      ['geni_start', ''], ['geni_restart', 'geni_configuring'], ['geni_stop', 'geni_stopping'],
      ['geni_update_users', 'geni_updating_users'],
      ['violin_snapshot', 'violin_snapshotting'], ['violin_suspend', 'violin_suspending'], ['violin_rollback', 'violin_rolling_back'],
      remove, ...always,
    ],
  },
  { name: 'geni_stopping', waits: ['geni_notready', 'geni_failed'] },
  { name: 'geni_updating_users', waits: ['geni_ready', 'geni_ready'] },
  { name: 'violin_snapshotting', waits: ['geni_ready', 'geni_ready'] },
  { name: 'violin_suspending', waits: ['violin_suspended', 'geni_ready'] },
  { name: 'violin_suspended', actions: [['violin_resume', 'violin_resuming'], ['violin_rollback', 'violin_rolling_back'], remove, ...always] },
  { name: 'violin_resuming', waits: ['geni_ready', 'violin_suspended'] },
  { name: 'violin_rolling_back', waits: ['geni_ready', 'geni_failed'] },
  { name: 'geni_failed', actions: [['geni_restart', 'geni_configuring'], ['violin_rollback', 'violin_rolling_back'], remove, ...always] },
]

/** The advertisement as ASCII text. */
export function writeAdvertisement(options: AdvertisementOptions): string {
  const locations = [rspecNs, `${rspecNs}/ad.xsd`, opstateNs, `${opstateNs}/ad.xsd`].join(' ')
  const root = element('rspec', {
    'xmlns': rspecNs, 'xmlns:xsi': xsiNs, 'type': 'advertisement', 'generated': options.generated, 'generated_by': 'geni-violin',
    'xsi:schemaLocation': locations,
  }, [...options.hosts.map((host) => node(host, options)), opstate(options.componentManager), capability(options)])
  return `<?xml version="1.0"?>\n${root}`
}

function node(host: AdvertisedHost, { componentManager, authority, images, defaultImage }: AdvertisementOptions): string {
  const disks = [...images, ...host.diskImages ?? []].map((image) => element('disk_image', {
    name: makeUrn(authority, 'image', image), ...image === defaultImage && { default: true },
  }))
  return element('node', {
    component_id: host.componentId, component_manager_id: componentManager, component_name: host.name, exclusive: false,
  }, [
    element('hardware_type', { name: 'pcvm' }),
    ...sliverTypes.map((name) => element('sliver_type', { name }, disks)),
    element('available', { now: host.available }),
  ])
}

function opstate(componentManager: string): string {
  return element('rspec_opstate', { xmlns: opstateNs, aggregate_manager_id: componentManager, start: 'geni_notready' }, [
    ...sliverTypes.map((name) => element('sliver_type', { name })),
    ...states.map((state) => element('state', { name: state.name }, [
      ...(state.actions ?? []).map(([name, next]) => element('action', { name, next: next || state.name })),
      ...state.waits ? [
        element('wait', { type: 'geni_success', next: state.waits[0] }), element('wait', { type: 'geni_failure', next: state.waits[1] }),
      ] : [],
    ])),
  ])
}

function capability({ sliceVms, sliceSnapshotsBytes }: AdvertisementOptions): string {
  return element('violin:rspec_checkpoint_capability', { 'xmlns:violin': violinNs, 'version': '1' }, [
    ...sliverTypes.map((name) => element('violin:sliver_type', {
      name, actions: actions.join(' '), scope: 'full', consistency: 'distributed', time: 'transparent', live: true,
    })),
    element('violin:storage_target', { name: 'default', default: true, ...sliceSnapshotsBytes !== undefined && { quota_bytes: sliceSnapshotsBytes } }),
    element('violin:limits', {
      min_interval: formatDuration(limits.minIntervalMs), max_keep: limits.maxKeep, max_age: formatDuration(limits.maxAgeMs),
      max_nodes: Math.min(limits.nodesPerSlice, sliceVms ?? Infinity),
    }),
  ])
}

function element(name: string, attributes: Attributes, children: string[] = []): string {
  const head = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeXml(String(value))}"`).join('')
  const inside = children.map((child) => `\n${child.replace(/^/gm, '  ')}`).join('')
  return children.length > 0 ? `<${name}${head}>${inside}\n</${name}>` : `<${name}${head}/>`
}
