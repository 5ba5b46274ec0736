// The archives that a request lets install in a node, as files of its configuration disk: install/NN.tar, and install/NN.path, where it goes.
import type { VmSpec } from '../slices/vm-spec.js'
import { fetchSource } from './fetch.js'

/** Fails, naming the archive, when one cannot be fetched. */
export async function installFiles({ install = [] }: VmSpec, places: readonly string[] = []): Promise<Record<string, string | Buffer>> {
  const archives = await Promise.all(install.map((one) => fetchSource(one, places)))
  return Object.fromEntries(install.flatMap(({ path }, i): [string, string | Buffer][] => {
    const name = `install/${String(i).padStart(2, '0')}`
    return [[`${name}.path`, `${path}\n`], [`${name}.tar`, archives[i]!]]
  }))
}
