// The named points of the product at which a process can be made to die, or to stand still.
import { world } from '../world.js'

export const armFaults = (): void => undefined

export function faultPoint(name: string): void {
  const w = world()
  const { current } = w
  if (!current?.alive || !w.deathAt?.points.includes(name)) return
  const proc = w.deathAt.proc === '' ? current : w.procs.find((p) => p.name === w.deathAt!.proc) ?? current
  const { act } = w.deathAt
  w.deathAt = undefined
  if (act) {
    act(proc)
    return
  }
  w.probe(`death at ${name}`)
  w.kill(proc, `at ${name}`)
}
