// An image of the disk of one node. The slice is held until the disk is frozen; the host makes the image afterwards, whatever
// becomes of the slice.
import { Failure } from '../base/errors.js'
import type { Operation } from '../slices/operation.js'
import { endOperation } from '../slices/slice-lock.js'
import { provisioned, type SliceRecord } from '../slices/slice.js'
import type { JobParts } from './surroundings.js'
import { noteHosts } from './vm-watch.js'

/** May run again after a worker's death: a host makes an image of one id once. */
export async function createImageJob(at: JobParts, slice: SliceRecord, operation: Operation): Promise<void> {
  const { image, slivers } = operation.params
  const sliver = provisioned(slice).find((s) => slivers?.includes(s.id))
  if (!image || !sliver) throw new Failure('failed', 'its node is gone')
  await askAgain(() => at.hosts.createImage(sliver.host, {
    slice: slice.uuid, token: operation.token, vm: sliver.id, image: { ...image, owner: operation.who, sliver: sliver.urn },
    quotas: at.room.quotas, floorBytes: at.room.floorBytes,
  }))
  await noteHosts(at) // from here on the host's record has the name, not the operation
  await endOperation(at, operation, { state: 'done', result: { image: image.name } }, (record) => {
    for (const s of provisioned(record).filter(({ id }) => id === sliver.id)) {
      s.resourceStatus = `its disk is frozen and image ${image.name} is being made of it: ListImages says when it is ready`
    }
  })
}

const tries = 3

/** An agent that dies over an answer may have done what it was asked for: the next one says so. */
async function askAgain<T>(ask: () => Promise<T>, left = tries): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (left <= 1 || !(error instanceof Failure) || error.code !== 'host-lost') throw error
    return askAgain(ask, left - 1)
  }
}
