// CreateImage, ListImages, DeleteImage: ProtoGENI's calls, beside v2 and v3 alike. An image is the disk of one node at one instant,
// published under a name. It is made in the background; ListImages says how far it is.
import { Refusal } from '../../base/errors.js'
import { token } from '../../base/random.js'
import { Turns } from '../../base/turns.js'
import { makeUrn, parseUrn, sameUrn } from '../../base/urn.js'
import { imageNameForm, mayUse, sameName, type DiskImage } from '../../slices/disk-image.js'
import { imageObjection } from '../../slices/quota.js'
import { beginOperation } from '../../slices/slice-lock.js'
import type { SliceRecord } from '../../slices/slice.js'
import type { OperationalState, Sliver } from '../../slices/sliver.js'
import {
  findTarget, mustHaveSlivers, refuseExpired, refuseOtherSlice, refuseShutDown, type AmCall, type AmParts, type Granted,
} from '../context.js'
import { hostedImages, type HostedImage } from '../disk-images.js'
import { credentialsArgument, flag, optionsArgument, sliceUrnArgument, textArgument, textOption } from '../options.js'
import type { Struct, Value } from '../xmlrpc/value.js'

/** In any other its disk is changed by an operation, or is not what its node last wrote. */
const states: OperationalState[] = ['geni_ready', 'geni_notready', 'violin_suspended']

/** Two calls at once do not take the same name. */
const turns = new Turns()

/** CreateImage(slice_urn, imagename, sliver_urn, credentials, options{global}): [URN of the image]. */
export async function createImage(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const sliceUrn = sliceUrnArgument(params[0])
  const granted = call.authorize(credentialsArgument(params[3]), 'change', sliceUrn)
  const name = textArgument(params[1], 'imagename')
  if (!imageNameForm.test(name)) {
    throw new Refusal('bad-arguments', `imagename "${name.slice(0, 80)}" must be up to 64 letters, digits, dots, hyphens and underscores`)
  }
  const global = flag(optionsArgument(params[4]), 'global')
  const { slice, sliver } = await sliverOf(at, sliceUrn, textArgument(params[2], 'sliver_urn'))
  refuseOtherSlice(slice, granted)
  refuseShutDown(slice, granted)
  refuseExpired(at, [sliver])
  refuseState(sliver)
  return turns.run('names', async () => {
    await refuseName(at, name, granted)
    const image = { id: `i-${token(at.random, 6)}`, name, global }
    const { operation } = await beginOperation(at, slice.urn, {
      kind: 'create-image', who: granted.owner, why: 'CreateImage', callId: call.callId, params: { slivers: [sliver.id], image },
    }, (record) => {
      const now = record.slivers.find((s) => s.id === sliver.id)
      if (!now) throw new Refusal('not-found', `there is no sliver ${sliver.urn} any more`)
      refuseState(now) // it may have changed since we looked
      now.resourceStatus = `image ${name} is being made of its disk`
    })
    await at.queue.add(operation)
    return [urnOf(at, name)]
  })
}

/** ListImages(user_urn, credentials, options): the images that this user has had made, in whatever state. */
export async function listImages(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const user = textArgument(params[0], 'user_urn')
  if (parseUrn(user)?.type !== 'user') throw new Refusal('bad-arguments', `"${user.slice(0, 200)}" is not the URN of a user`)
  const granted = call.authorize(credentialsArgument(params[1]), 'list-resources')
  optionsArgument(params[2])
  if (!sameUrn(user, granted.owner) && !granted.operator) {
    throw new Refusal('forbidden', `only ${user} and operators of this aggregate may list the images of ${user}`)
  }
  return hostedImages(await at.store.hosts()).filter(({ image }) => sameUrn(image.owner, user)).map((hosted) => imageStruct(at, hosted))
}

/** DeleteImage(image_urn, credentials, options{creator_urn}): true. VMs that were made of it keep their disks. */
export async function deleteImage(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const urn = textArgument(params[0], 'image_urn')
  const granted = call.authorize(credentialsArgument(params[1]), 'list-resources')
  const creator = textOption(optionsArgument(params[2]), 'creator_urn')
  const hosts = await at.store.hosts()
  const isMeant = (image: DiskImage) => sameUrn(urnOf(at, image.name), urn) && (creator === undefined || sameUrn(image.owner, creator))
  const found = hostedImages(hosts).find(({ image }) => isMeant(image))
  if (!found || !mayUse(found.image, granted.owner, granted.operator)) {
    const known = hosts.some((h) => h.images.some((guest) => sameUrn(urnOf(at, guest), urn)))
    if (known) throw new Refusal('forbidden', `${urn} belongs to this aggregate: it cannot be deleted`)
    throw new Refusal('not-found', `there is no image ${urn.slice(0, 200)}${creator === undefined ? '' : ` of ${creator}`} here`)
  }
  const { host, image } = found
  if (image.ofOperator) throw new Refusal('forbidden', `${urn} is a file in a folder of the operator: it goes when it is removed there`)
  if (!sameUrn(image.owner, granted.owner) && !granted.operator) {
    throw new Refusal('forbidden', `only ${image.owner} and operators of this aggregate may delete ${urn}`)
  }
  await refuseWanted(at, image.name)
  await at.questions.removeImage(host, image.id)
  return true
}

const urnOf = (at: AmParts, name: string): string => makeUrn(at.authority, 'image', name)

/** `url` is ProtoGENI's; images are not to be fetched here. */
function imageStruct(at: AmParts, { host, image }: HostedImage): Struct {
  return {
    urn: urnOf(at, image.name), url: '', violin_state: image.state, violin_error: image.why, violin_global: image.global ? 1 : 0,
    violin_created: image.created, violin_bytes: String(image.bytes), violin_disk_mib: image.diskMiB, violin_sliver: image.sliver,
    violin_guest_image: urnOf(at, image.guest), violin_host: host,
  }
}

async function sliverOf(at: AmParts, sliceUrn: string, sliverUrn: string): Promise<{ slice: SliceRecord; sliver: Sliver }> {
  if (parseUrn(sliverUrn)?.type !== 'sliver') {
    throw new Refusal('bad-arguments', `"${sliverUrn.slice(0, 200)}" is not the URN of a sliver: an image is made of one node`)
  }
  const target = await findTarget(at, [sliverUrn])
  if (!sameUrn(target.sliceUrn, sliceUrn)) throw new Refusal('not-found', `there is no sliver ${sliverUrn} in ${sliceUrn}`)
  return { slice: mustHaveSlivers(target), sliver: target.slivers[0]! }
}

function refuseState(sliver: Sliver): void {
  if (sliver.allocation === 'geni_provisioned' && states.includes(sliver.operational)) return
  throw new Refusal('unsupported', `CreateImage is not possible: ${sliver.clientId} is ${sliver.operational}, it must be ${states.join(' or ')}`)
}

async function refuseName(at: AmParts, name: string, { owner }: Granted): Promise<void> {
  const hosts = await at.store.hosts()
  const images = hostedImages(hosts).map(({ image }) => image)
  const twin = images.find((image) => sameName(image.name, name))
  const replaces = twin?.state === 'failed' && sameUrn(twin.owner, owner)
  const others = [...hosts.flatMap((h) => h.images), ...await namesUnderWay(at)]
  if ((twin && !replaces) || others.some((other) => sameName(other, name))) {
    throw new Refusal('exists', `there is an image of the name ${name} already: choose another, or delete that one with DeleteImage`)
  }
  const own = images.filter((image) => sameUrn(image.owner, owner) && image !== twin)
  const objection = imageObjection(at.quotas, owner, { count: own.length, bytes: own.reduce((sum, i) => sum + i.bytes, 0) }, 1) // how large it is the host says
  if (objection !== undefined) throw new Refusal('too-big', objection)
}

/** Of images that no host knows yet. */
async function namesUnderWay(at: AmParts): Promise<string[]> {
  const ids = (await at.store.slices()).flatMap(({ operation }) => (operation?.kind === 'create-image' ? [operation.id] : []))
  return (await Promise.all(ids.map((id) => at.store.operation(id)))).flatMap((operation) => operation?.params.image?.name ?? [])
}

/** Who has allocated nodes of it, and not provisioned them yet, counts on it. */
async function refuseWanted(at: AmParts, name: string): Promise<void> {
  const isOfIt = ({ node }: Sliver) => node.disk !== undefined && sameName(node.disk, name)
  const hasNoDisk = ({ operation }: SliceRecord, { allocation, operational }: Sliver) => allocation === 'geni_allocated' ||
    (operation?.kind === 'provision' && allocation === 'geni_provisioned' && ['geni_notready', 'geni_configuring'].includes(operational))
  const wanted = (await at.store.slices()).some((slice) => slice.slivers.some((s) => isOfIt(s) && hasNoDisk(slice, s)))
  if (wanted) throw new Refusal('refused', `image ${name} is wanted by nodes that are allocated and not provisioned yet: try again in a few minutes`)
}
