// A disk image: what the data disk of one node held at one instant, published under a name that later requests can give in
// <disk_image>. A node of it boots the guest image that the disk was made with, and finds that disk. Pure.
import { sameUrn } from '../base/urn.js'

export interface DiskImage {
  format: 1
  /** [a-z0-9-]+: the name of its files on the host. */
  id: string
  /** Unique at this aggregate, without regard to case; the last part of its URN. */
  name: string
  /** URN of the user who has had it made. */
  owner: string
  /** May everybody use it, or only the owner? */
  global: boolean
  /** A file in a folder of the operator, who removes it there; it has no owner. */
  ofOperator?: true
  /** A failed one can be removed and nothing else, or made anew by its owner. */
  state: 'making' | 'ready' | 'failed'
  /** Why it has failed. */
  why: string
  /** The guest image that its nodes boot. */
  guest: string
  diskMiB: number
  /** While it is being made: the most that it may take. */
  bytes: number
  digest: string
  /** RFC 3339: the instant of the disk. */
  created: string
  /** URN of the sliver that it was made of. */
  sliver: string
}

/** Omni takes letters and digits only; hyphens, dots and underscores are harmless. */
export const imageNameForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

export const sameName = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

/** May this user make nodes of it? */
export const mayUse = (image: DiskImage, user: string, operator = false): boolean =>
  image.global || operator || sameUrn(image.owner, user)
