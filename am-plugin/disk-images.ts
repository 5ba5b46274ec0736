// The disk images that hosts have (slices/disk-image.ts), as callers see them.
import type { RequestDisk } from '../rspec/request-image.js'
import { mayUse, type DiskImage } from '../slices/disk-image.js'
import type { HostRecord } from '../slices/slice-store.js'
import type { Granted } from './context.js'

/** An image with the host that has it. */
export interface HostedImage { host: string; image: DiskImage }

export const hostedImages = (hosts: HostRecord[]): HostedImage[] =>
  hosts.flatMap(({ host, diskImages }) => (diskImages ?? []).map((image) => ({ host, image })))

/** Those that a request of this caller may name. Of others' private images nothing is told. */
export function usableDisks(hosts: HostRecord[], { owner, operator }: Pick<Granted, 'owner' | 'operator'>): RequestDisk[] {
  return hostedImages(hosts).filter(({ image }) => mayUse(image, owner, operator)).map(({ image: { name, guest, diskMiB, state, why } }) => ({
    name, guest, diskMiB,
    ...(state === 'making' ? { unready: { code: 'busy' as const, why: 'it is still being made: try again in a few seconds' } } : {}),
    ...(state === 'failed' ? { unready: { code: 'not-found' as const, why: `it could not be made (${why}): make it anew with CreateImage` } } : {}),
  }))
}
