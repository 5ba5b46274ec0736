// What `violin verify` is to look at: folders of snapshots, the certificate to believe, and where disk layers are. Reads and
// changes nothing.
import { X509Certificate } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Refusal } from '../../base/errors.js'
import { parseUrn } from '../../base/urn.js'
import { splitPem } from '../../certs/certificate.js'
import { presentParts } from '../../hosts/layer-chains.js'
import { digestSuffix, readReplacements } from '../../hosts/layers.js'
import { ImageStore } from '../../snapshots/image-store.js'
import type { Disks } from '../../snapshots/verify.js'
import { readNamed } from '../slice/federation-files.js'
import { layoutOf } from '../up/layout.js'

export interface VerifyFlags { state: string; certificate?: string[]; layers?: string; expect?: string; json?: boolean }

/** The folder of each snapshot that is meant. Without words: of every one of the aggregate that is not still being made. */
export async function foldersOf(words: string[], flags: VerifyFlags): Promise<string[]> {
  if (words.length === 0) return everyFolder(flags)
  return Promise.all(words.map(async (word) => (isFolder(word) ? resolve(word) : named(word, flags))))
}

export function certificatesOf(flags: VerifyFlags): X509Certificate[] {
  const own = join(layoutOf(flags.state).federation, 'am.pem')
  if (!flags.certificate && !existsSync(own)) {
    throw new Refusal('not-found', `there is no certificate to check signatures with: name that of the aggregate with --certificate (${own} is not there)`)
  }
  return (flags.certificate ?? [own]).map((file) => {
    try {
      return new X509Certificate(splitPem(readNamed(file, 'the certificate'))[0]!)
    } catch (cause) {
      if (cause instanceof Refusal && cause.code === 'not-found') throw cause
      throw new Refusal('bad-arguments', `${file} is no certificate`, { cause })
    }
  })
}

/** Beside the snapshot, as the aggregate has it, or where it is said. */
export function disksOf(snapshot: string, flags: VerifyFlags): Disks | undefined {
  const beside = join(dirname(dirname(dirname(snapshot))), 'host', 'layers')
  const folder = flags.layers ?? [beside, join(layoutOf(flags.state).host, 'layers')].find((at) => isFolder(at))
  if (folder === undefined) return undefined
  if (!isFolder(folder)) throw new Refusal('not-found', `--layers ${folder}: there is no such folder`)
  return {
    folder,
    present: async (parts) => {
      const { parts: found, by } = presentParts(parts, await readReplacements(folder))
      return { parts: found, merged: by.length > 0 }
    },
    kept: (layer) => readFile(join(folder, `${layer}${digestSuffix}`), 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }),
  }
}

interface Said { name: string; created: string; k: number }
interface Found extends Said { folder: string; id: string }

async function everyFolder(flags: VerifyFlags): Promise<string[]> {
  const decided = (await all(flags)).filter(({ folder }) => existsSync(join(folder, 'outcome')))
  if (decided.length === 0) throw new Refusal('not-found', `there is no snapshot in ${layoutOf(flags.state).store}`)
  return decided.sort((a, b) => (a.created === b.created ? a.k - b.k : a.created < b.created ? -1 : 1)).map(({ folder }) => folder)
}

/** By id, name or URN. */
async function named(word: string, flags: VerifyFlags): Promise<string> {
  const wanted = parseUrn(word)?.name ?? word
  const there = await all(flags)
  const found = there.filter((s) => s.id === wanted)
  const called = found.length > 0 ? found : there.filter((s) => s.name === wanted)
  if (called.length === 1) return called[0]!.folder
  if (called.length > 1) {
    throw new Refusal('bad-arguments', `${called.length} snapshots are called ${word}: say which, by its id: ${called.map((s) => s.id).join(', ')}`)
  }
  throw new Refusal('not-found', `there is no snapshot ${word} in ${layoutOf(flags.state).store}, nor a folder of that name`)
}

async function all(flags: VerifyFlags): Promise<Found[]> {
  const store = new ImageStore(layoutOf(flags.state).store)
  const found: Found[] = []
  for (const slice of await store.slices()) {
    for (const id of await store.ids(slice)) {
      const folder = store.folder(slice, id)
      found.push({ folder, id, ...await saidIn(folder) })
    }
  }
  return found
}

/** Only to find it: nothing is believed before it is verified. */
async function saidIn(folder: string): Promise<Said> {
  try {
    const { name, created, k } = JSON.parse(await readFile(join(folder, 'inventory.json'), 'utf8')) as Record<string, unknown>
    return { name: String(name), created: String(created), k: Number(k) }
  } catch {
    return { name: '', created: '', k: 0 }
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
