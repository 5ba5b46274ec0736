// Quotas: how much one slice, and one user with all slices together, may have of this aggregate. The operator sets them
// (`violin up --quota`); whose a slice is says its record (`creator`). Pure; snapshots/quota.ts counts the bytes of snapshots.
import { Refusal } from '../base/errors.js'
import { limits } from '../base/limits.js'
import { parseSize, shownSize } from '../base/sizes.js'
import { sameUrn } from '../base/urn.js'
import type { SliceRecord } from './slice.js'

const keys = {
  'slice-vms': 'count', 'slice-memory': 'MiB', 'slice-snapshots-bytes': 'bytes',
  'user-vms': 'count', 'user-memory': 'MiB', 'user-snapshots-bytes': 'bytes', 'user-slices': 'count',
  'user-images': 'count', 'user-images-bytes': 'bytes', 'user-fetched-bytes': 'bytes',
} as const
export type QuotaKey = keyof typeof keys
/** VMs, slices and images are counted, memory is in MiB, snapshots are in bytes. One that is not there sets no bound. */
export type Quotas = Partial<Record<QuotaKey, number>>

/**
 * Where the operator says nothing, only the size of a slice is bounded, by what one request may ask for, and the number of images. Memory is bounded by the
 * host's own, snapshots by the free room (limits.freeFloorBytes); who shares an aggregate among users sets the rest.
 */
export const standardQuotas: Quotas = { 'slice-vms': limits.nodesPerSlice, 'user-images': limits.imagesPerUser }

/** Lays `KEY=VALUE,KEY=VALUE` over quotas that hold already. `none` lifts one. Refuses with what it could have been. */
export function parseQuotas(text: string, over: Quotas = standardQuotas): Quotas {
  let quotas = { ...over }
  for (const part of text.split(',').map((p) => p.trim())) {
    const [, key, value] = /^([a-z-]+)=(\S+)$/.exec(part) ?? []
    if (key === undefined || value === undefined) throw wrong(`"${part.slice(0, 60)}" is not KEY=VALUE`)
    if (!Object.hasOwn(keys, key)) throw wrong(`there is no quota ${key}`)
    const { [key as QuotaKey]: _, ...others } = quotas
    quotas = value === 'none' ? others : { ...others, [key]: valueOf(key as QuotaKey, value) }
  }
  return quotas
}

function valueOf(key: QuotaKey, text: string): number {
  const kind = keys[key]
  const value = kind === 'count' ? (/^\d{1,9}$/.test(text) ? Number(text) : undefined) : parseSize(text, kind === 'MiB' ? mebi : 1)
  const amount = value === undefined || kind !== 'MiB' ? value : value / mebi
  if (amount === undefined || amount < 1 || !Number.isInteger(amount)) {
    const hint = { count: 'a count from 1 up', MiB: 'whole MiB, or an amount such as 512M or 8G', bytes: 'bytes, or an amount such as 500M, 20G or 1T' }[kind]
    throw wrong(`${key}=${text.slice(0, 40)} is no value for it: give ${hint}, or none`)
  }
  return amount
}

const mebi = 1024 * 1024
const wrong = (what: string): Refusal => new Refusal('bad-arguments', `--quota: ${what}; the quotas are ${Object.keys(keys).join(', ')}`)

export interface AllocationAsk { sliceUrn: string; creator: string; vms: number; memoryMiB: number }

/** Why an Allocate may not be, or undefined. `slices`: all there are. What is being deleted counts until it is gone. */
export function allocationObjection(quotas: Quotas, slices: SliceRecord[], ask: AllocationAsk): string | undefined {
  const own = slices.filter((s) => sameUrn(s.urn, ask.sliceUrn))
  const ofUser = slices.filter((s) => sameUrn(s.creator, ask.creator))
  const inUse = ofUser.filter((s) => s.slivers.length > 0)
  const isNew = !inUse.some((s) => sameUrn(s.urn, ask.sliceUrn))
  const memory = (all: SliceRecord[]) => slivers(all).reduce((sum, s) => sum + s.node.memoryMiB, 0)
  const user = `the slices of ${ask.creator} have`
  const exceeded = [
    over(quotas, 'slice-vms', slivers(own).length, ask.vms, 'the slice has', own),
    over(quotas, 'slice-memory', memory(own), ask.memoryMiB, 'the VMs of the slice have', own),
    over(quotas, 'user-vms', slivers(ofUser).length, ask.vms, user, ofUser),
    over(quotas, 'user-memory', memory(ofUser), ask.memoryMiB, user, ofUser),
    isNew ? over(quotas, 'user-slices', inUse.length, 1, `${ask.creator} has`, ofUser) : undefined,
  ]
  return exceeded.find((sentence) => sentence !== undefined)
}

const slivers = (all: SliceRecord[]) => all.flatMap((s) => s.slivers)

function over(quotas: Quotas, key: QuotaKey, used: number, asked: number, whose: string, counted: SliceRecord[]): string | undefined {
  const quota = quotas[key]
  if (quota === undefined || used + asked <= quota) return undefined
  const leaving = slivers(counted).filter((s) => s.allocation === 'geni_unallocated').length
  return `quota ${key}: ${whose} ${shownAmount(key, used)} of at most ${shownAmount(key, quota)}, and ${shownAmount(key, asked)} more ` +
    `${key === 'user-slices' ? 'is' : 'are'} asked for: ask for less, delete slivers that are not needed, or ask the operator of this aggregate for more` +
    (leaving > 0 ? ` (${leaving} slivers are being deleted: try again in a few seconds)` : '')
}

function shownAmount(key: QuotaKey, amount: number): string {
  if (keys[key] === 'MiB') return `${amount} MiB of memory`
  if (keys[key] === 'bytes') return shownSize(amount)
  return `${amount} ${key.endsWith('slices') ? 'slice' : key.endsWith('images') ? 'image' : 'VM'}${amount === 1 ? '' : 's'}`
}

/** Why a user may not have another image, or undefined. `used`: of all that the user has, `asked`: the most that the new one takes. */
export function imageObjection(quotas: Quotas, user: string, used: { count: number; bytes: number }, asked: number): string | undefined {
  const more = 'remove some with DeleteImage, or ask the operator of this aggregate for more'
  const [count, bytes] = [quotas['user-images'], quotas['user-images-bytes']]
  if (count !== undefined && used.count + 1 > count) {
    return `quota user-images: ${user} has ${shownAmount('user-images', used.count)} of at most ${count}: ${more}`
  }
  if (bytes === undefined || used.bytes + asked <= bytes) return undefined
  const room = `${shownSize(used.bytes)} of at most ${shownSize(bytes)}`
  return `quota user-images-bytes: the images of ${user} have ${room}, and this one may take ${shownSize(asked)}: ${more}`
}
