// The agent of one host: what it can be asked (snapshots/messages.ts and VmHosts in slices/needs.ts), each answer
// idempotent, each change on disk before it is acted on.
import { rm } from 'node:fs/promises'
import { Refusal } from '../base/errors.js'
import { ImageStore } from '../snapshots/image-store.js'
import type { AgentAsks, HostCutAsk, Maxima, RestoreHeader, RestoreOrder } from '../snapshots/messages.js'
import type { FetchAsk, FetchState, HostCapacity, ImageAsk, Mandate, VmReport } from '../slices/needs.js'
import type { DiskImage } from '../slices/disk-image.js'
import type { VmSpec } from '../slices/vm-spec.js'
import type { Collapse } from './collapse.js'
import { hostCapacity, overheadMiB } from './capacity.js'
import type { LocalImages } from './local-images.js'
import type { FetchedImages } from './fetched-images.js'
import type { Images } from './images.js'
import type { Participants } from './participants.js'
import type { RestoreHost } from './restore-host.js'
import type { SliceMarks } from './slice-marks.js'
import type { VmRegistry } from './vm-registry.js'

export interface AgentParts {
  host: string
  accelerator: string
  images: string[]
  store: string
  registry: VmRegistry
  participants: Participants
  restores: RestoreHost
  collapse: Collapse
  diskImages: Images
  localImages: Pick<LocalImages, 'list'>
  fetchedImages: Pick<FetchedImages, 'ask'>
  marks: SliceMarks
}

type CutHandlers = { [K in keyof AgentAsks]: (ask: AgentAsks[K][0]) => Promise<AgentAsks[K][1]> }

export function agentHandlers(at: AgentParts) {
  const cuts: CutHandlers = {
    maxima: async ({ slice }): Promise<Maxima> => {
      await at.restores.settle(slice)
      const { run, k, token, current } = await at.marks.get(slice)
      return { run, k, token, current }
    },
    cut: (ask: HostCutAsk) => at.participants.ask(ask),
    restorePrepare: (order: RestoreOrder) => at.restores.prepare(order),
    restoreGo: (header: RestoreHeader) => at.restores.go(header),
    restoreAbort: (header: RestoreHeader) => at.restores.abort(header),
    removeSnapshot: async ({ slice, snapshot }) => {
      const store = new ImageStore(at.store)
      if ((await store.outcome(slice, snapshot))?.outcome === 'commit') {
        throw new Refusal('refused', `snapshot ${snapshot} is committed: its outcome must go first`)
      }
      await rm(store.folder(slice, snapshot), { recursive: true, force: true })
      await at.collapse.collect()
      at.collapse.soon()
      return null
    },
  }
  return {
    ...cuts,
    capacity: (): Promise<HostCapacity> => hostCapacity({
      ...at, diskImages: [...at.diskImages.list(), ...at.localImages.list()], givenMiB: at.registry.memoryMiB(overheadMiB),
    }),
    ...vmHandlers(at),
    createImage: async (ask: ImageAsk): Promise<DiskImage> => {
      await at.marks.fence(ask.slice, ask.token)
      return at.diskImages.create(ask)
    },
    removeImage: async ({ image }: { image: string }): Promise<null> => {
      await at.diskImages.remove(image)
      return null
    },
    fetchImage: (ask: FetchAsk): Promise<FetchState> => at.fetchedImages.ask(ask),
    console: async ({ vm, bytes }: { vm: string; bytes: number }) => ({ text: await at.registry.console(vm, bytes) }),
    reports: (): VmReport[] => at.registry.reports(),
    killAll: () => at.registry.killAll(),
  }
}

function vmHandlers(at: AgentParts) {
  /** What cannot be settled now (a full disk, say) keeps nobody from stopping or removing a VM. */
  const settled = async (vm: string): Promise<void> => {
    const slice = at.registry.sliceOf(vm)
    if (slice !== undefined) await at.restores.settle(slice).catch(() => undefined)
  }
  /** Before anything is ended. Not refused itself: the first operations of a slice that was here before have lower tokens than it had. */
  const replacing = async (by: Mandate | undefined): Promise<void> => {
    if (!by) return
    try {
      if (by.token > (await at.marks.get(by.slice)).token) await at.marks.raise(by.slice, { token: by.token })
    } catch {
      return // a full disk, or marks that cannot be read, keep nobody from stopping or removing a VM
    }
  }
  return {
    defineVm: (spec: VmSpec) => at.registry.define(spec),
    startVm: async ({ vm, run, epoch }: { vm: string; run: string; epoch: number }): Promise<void> => {
      await settled(vm)
      await at.registry.start(vm, { run, epoch })
    },
    setLogins: async ({ vm, logins }: { vm: string; logins: VmSpec['logins'] }) => {
      await at.registry.setLogins(vm, logins)
      return null
    },
    stopVm: async ({ vm, by }: { vm: string; by?: Mandate }): Promise<void> => {
      await replacing(by)
      await settled(vm)
      await at.registry.stop(vm)
    },
    destroyVm: async ({ vm, by }: { vm: string; by?: Mandate }): Promise<void> => {
      await replacing(by)
      await settled(vm)
      await at.registry.destroy(vm)
      await at.collapse.collect()
    },
  }
}
