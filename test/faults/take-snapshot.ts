// One snapshot through the AM API, to its end: committed, or not and why.
import { Failure } from '../../base/errors.js'
import { realClock as clock, until } from '../../base/time.js'
import { text, type Struct } from '../../cli/demo/slice-client.js'
import type { FaultRig } from './rig.js'

export interface Taken { id: string; entry: Struct | undefined; why: string }

const boundMs = 180_000

export async function takeSnapshot(rig: FaultRig): Promise<Taken> {
  const { slice } = rig
  const [answer] = await rig.whenFree(() => slice.action('violin_snapshot'))
  const id = text(answer!, 'violin_snapshot').split('+').at(-1)!
  const end = await until(clock, boundMs, 100, async () => {
    const { operation } = await slice.statusWith(text(answer!, 'violin_operation'))
    return operation && !['queued', 'running'].includes(operation.state) ? operation : undefined
  })
  if (!end) throw new Failure('timed-out', `the snapshot ${id} has not ended after ${boundMs / 1000} s`)
  const entry = (await slice.snapshots()).find((s) => text(s, 'id') === id)
  return { id, entry, why: entry ? '' : end.error || end.state }
}

/** Milliseconds that each VM stood. */
export const pausesOf = (entry: Struct): number[] => Object.values(entry['pause_ms'] as Struct).map(Number)
