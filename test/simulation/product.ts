// The product's own modules, as they are in the repository, loaded into a graph of their own (loader.js). A graph may have deliberate
// defects: changes of source that test/simulation/defects.ts names.
import { register } from 'node:module'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type * as durable from '../../base/durable.js'
import type * as errors from '../../base/errors.js'
import type * as records from '../../base/records.js'
import type * as time from '../../base/time.js'
import type * as agent from '../../hosts/agent.js'
import type * as ballast from '../../hosts/ballast.js'
import type * as collapse from '../../hosts/collapse.js'
import type * as image from '../../hosts/guest-image.js'
import type * as images from '../../hosts/images.js'
import type * as ending from '../../hosts/hypervisor/ending.js'
import type * as layers from '../../hosts/layers.js'
import type * as participants from '../../hosts/participants.js'
import type * as ready from '../../hosts/ready.js'
import type * as restores from '../../hosts/restore-host.js'
import type * as marks from '../../hosts/slice-marks.js'
import type * as strays from '../../hosts/strays.js'
import type * as switchLink from '../../hosts/switch-link.js'
import type * as registry from '../../hosts/vm-registry.js'
import type * as watchdog from '../../hosts/watchdog.js'
import type * as links from '../../jobs/host-links.js'
import type * as kept from '../../jobs/kept-snapshots.js'
import type * as periodic from '../../jobs/periodic.js'
import type * as recovery from '../../jobs/recovery.js'
import type * as jobs from '../../jobs/slice-jobs.js'
import type * as straySnapshots from '../../jobs/stray-snapshots.js'
import type * as snapshotJobs from '../../jobs/snapshot-jobs.js'
import type * as room from '../../jobs/snapshot-room.js'
import type * as watch from '../../jobs/vm-watch.js'
import type * as channelLog from '../../overlay/channel-log.js'
import type * as theSwitch from '../../overlay/switch.js'
import type * as redisStore from '../../slices/redis-slice-store.js'
import type * as lock from '../../slices/slice-lock.js'
import type * as imageStore from '../../snapshots/image-store.js'
import type * as open from '../../snapshots/open.js'

export interface Change { file: string; find: string; put: string }

const files = {
  errors: 'base/errors.ts', redisStore: 'slices/redis-slice-store.ts', lock: 'slices/slice-lock.ts', open: 'snapshots/open.ts',
  imageStore: 'snapshots/image-store.ts', links: 'jobs/host-links.ts', jobs: 'jobs/slice-jobs.ts', periodic: 'jobs/periodic.ts',
  kept: 'jobs/kept-snapshots.ts', snapshotJobs: 'jobs/snapshot-jobs.ts', room: 'jobs/snapshot-room.ts', straySnapshots: 'jobs/stray-snapshots.ts', strays: 'hosts/strays.ts', recovery: 'jobs/recovery.ts',
  watch: 'jobs/vm-watch.ts', agent: 'hosts/agent.ts', ballast: 'hosts/ballast.ts', collapse: 'hosts/collapse.ts', layers: 'hosts/layers.ts',
  image: 'hosts/guest-image.ts', images: 'hosts/images.ts', participants: 'hosts/participants.ts', restores: 'hosts/restore-host.ts', marks: 'hosts/slice-marks.ts',
  switchLink: 'hosts/switch-link.ts', registry: 'hosts/vm-registry.ts', watchdog: 'hosts/watchdog.ts', ready: 'hosts/ready.ts',
  ending: 'hosts/hypervisor/ending.ts', theSwitch: 'overlay/switch.ts', channelLog: 'overlay/channel-log.ts', records: 'base/records.ts', durable: 'base/durable.ts', time: 'base/time.ts',
} as const

export interface Product {
  errors: typeof errors
  records: typeof records
  durable: typeof durable
  time: typeof time
  redisStore: typeof redisStore
  lock: typeof lock
  open: typeof open
  imageStore: typeof imageStore
  links: typeof links
  jobs: typeof jobs
  periodic: typeof periodic
  kept: typeof kept
  snapshotJobs: typeof snapshotJobs
  room: typeof room
  straySnapshots: typeof straySnapshots
  strays: typeof strays
  recovery: typeof recovery
  watch: typeof watch
  agent: typeof agent
  ballast: typeof ballast
  collapse: typeof collapse
  layers: typeof layers
  image: typeof image
  images: typeof images
  participants: typeof participants
  restores: typeof restores
  marks: typeof marks
  switchLink: typeof switchLink
  registry: typeof registry
  watchdog: typeof watchdog
  ready: typeof ready
  ending: typeof ending
  theSwitch: typeof theSwitch
  channelLog: typeof channelLog
}

let hooks: MessagePort | undefined
let loaded: Product | undefined

/** The graph that runs now. */
export function product(): Product {
  if (!loaded) throw new Error('the product is not loaded')
  return loaded
}

/** Loads the product as it is, or with `changes`, under a name of its own, and makes it the one that runs. */
export async function loadProduct(name = 'whole', changes: readonly Change[] = []): Promise<Product> {
  await announce(name, changes)
  const modules: Record<string, unknown> = {}
  for (const [key, file] of Object.entries(files)) modules[key] = await import(new URL(`../../${file}?world=${name}`, import.meta.url).href)
  loaded = modules as unknown as Product
  return loaded
}

/** The thread of the hooks must know of the changes before it loads. */
async function announce(name: string, changes: readonly Change[]): Promise<void> {
  if (!hooks) {
    const { port1, port2 } = new MessageChannel()
    hooks = port1
    register('./loader.js', { parentURL: import.meta.url, data: { port: port2 }, transferList: [port2] })
  }
  const port = hooks
  await new Promise<void>((resolve) => {
    port.once('message', () => {
      port.unref()
      resolve()
    })
    port.ref()
    port.postMessage({ name, changes })
  })
}
