// What a node's <disk_image> asks for: a guest image, a disk image that is here, or one that is to be fetched.
import { Refusal } from '../base/errors.js'
import { diskFormatOf, readSource, type DigestedSource } from '../base/source.js'
import { parseUrn, sameUrn } from '../base/urn.js'
import { rspecNs, violinNs } from './names.js'
import { refuse } from './request-parts.js'
import { attribute, childrenOf, type XmlElement } from './xml.js'

/** What a disk image is to a request. `unready`: why nothing can be made of it now. */
export interface RequestDisk { name: string; guest: string; diskMiB: number; unready?: { code: 'busy' | 'not-found'; why: string } }

export interface ImageOptions {
  componentManager: string; images: readonly string[]; disks?: readonly RequestDisk[]; defaultImage: string; sources?: readonly string[]
}

/** `guest` is booted; the disk begins empty, as an image that is here, or as one that is fetched. */
export type WantedImage = { guest: string } | { guest: string; disk: RequestDisk } | { guest: string; from: DigestedSource }

const urlForm = /^[a-z][a-z0-9+.-]*:\/\//i

export function readImage(node: XmlElement, type: XmlElement, options: ImageOptions): WantedImage {
  const [image, second] = childrenOf(type, rspecNs, 'disk_image')
  if (second) throw refuse(node, 'has more than one disk_image')
  if (!image) return { guest: options.defaultImage }
  const name = attribute(image, 'name')?.trim() ?? ''
  const url = attribute(image, 'url')?.trim() ?? ''
  if (name === '' && url === '') throw refuse(image, 'has neither name nor url')
  if (name !== '' && url !== '' && name !== url) throw refuse(image, 'has a name and a url, which may be two images: give one of them')
  if (url !== '' || urlForm.test(name)) return { guest: options.defaultImage, from: readFrom(image, url === '' ? name : url, options) }
  if (digestOf(image) !== undefined) throw refuse(image, 'has a sha256, which belongs to a url: an image that is here is what it is')
  return named(node, image, name, options)
}

function named(node: XmlElement, image: XmlElement, name: string, { componentManager, images, disks = [] }: ImageOptions): WantedImage {
  const urn = parseUrn(name)
  const ours = urn?.type === 'image' && sameUrn(urn.authority, parseUrn(componentManager)?.authority ?? '')
  const local = ours ? urn.name : name
  if (images.includes(local)) return { guest: local }
  const disk = disks.find((d) => d.name.toLowerCase() === local.toLowerCase())
  if (disk?.unready !== undefined) {
    throw new Refusal(disk.unready.code, `line ${image.line}: the disk image "${disk.name}" cannot be used: ${disk.unready.why}`)
  }
  if (disk) return { guest: disk.guest, disk }
  throw new Refusal('not-found', `line ${image.line}: node "${attribute(node, 'client_id')!}" asks for the disk image "${name.slice(0, 200)}", `
    + `which is not here; there are: ${[...images, ...disks.map((d) => d.name)].join(', ')}`)
}

/** Our one attribute in an element that is not ours. */
function digestOf(image: XmlElement): string | undefined {
  const own = image.attrs.filter((a) => a.namespaceUri === violinNs)
  const other = own.find((a) => a.name !== 'sha256')
  if (other) throw refuse(image, `has an attribute ${other.name.slice(0, 40)} of our namespace, which it does not know; is sha256 meant?`)
  return own[0]?.value.trim()
}

/** The digest is a part of what is asked for: else nobody could say later what a node was made of, nor see that it was changed on its way. */
function readFrom(image: XmlElement, url: string, { sources = [] }: ImageOptions): DigestedSource {
  const said = `is of "${url.slice(0, 200)}"`
  const source = readSource(url, sources)
  if (typeof source === 'string') throw refuse(image, `${said}, ${source}`, 'unsupported')
  if (diskFormatOf(new URL(source.url).pathname) === undefined) {
    throw refuse(image, `${said}, whose name does not say what it is: it must end in .qcow2, .raw or .img (which is raw)`, 'unsupported')
  }
  const digest = digestOf(image)
  if (digest !== undefined && !/^[0-9a-f]{64}$/i.test(digest)) throw refuse(image, 'has a sha256 that is not 64 hexadecimal digits')
  const sha256 = source.sha256 ?? digest?.toLowerCase()
  if (sha256 === undefined) {
    throw refuse(image, `${said}, without a digest: write #sha256= and what sha256sum says of the file behind it, or violin:sha256="..." beside it`)
  }
  if (digest !== undefined && digest.toLowerCase() !== sha256) throw refuse(image, `${said} and has another sha256 beside it: give one digest`)
  return { url: source.url, sha256 }
}
