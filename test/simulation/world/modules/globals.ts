// What every module of the product finds in the place of Node's own timers and process.
import { world, type Timer } from '../world.js'

export function setTimeout(act: () => void, ms = 0): Timer {
  return world().timer(act, ms, false)
}

export function setInterval(act: () => void, ms: number): Timer {
  return world().timer(act, ms, true)
}

export function clearTimeout(timer: Timer | undefined): void {
  if (timer) timer.off = true
}

export function clearInterval(timer: Timer | undefined): void { clearTimeout(timer) }

export const process = { get pid() { return world().self().pid } }
