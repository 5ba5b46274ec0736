// The named points of the product at which a process can be made to die.
import { world } from '../world.js'

export const armFaults = (): void => undefined

export function faultPoint(name: string): void {
  const w = world()
  const proc = w.current
  if (!proc?.alive || w.deathAt?.point !== name) return
  w.deathAt = undefined
  w.probe(`death at ${name}`)
  w.kill(proc, `at ${name}`)
}
