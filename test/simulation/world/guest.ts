// What runs in the VMs: a bank. Every guest sends money to the others, numbers what it sends to each, and knows the last number that
// it had from each. So a frame that is lost, doubled, early or out of order is seen where it arrives, and the money of a slice (what the
// guests have, and what is on its way) never changes. It knows nothing of snapshots and nothing of faults.
import { world } from './world.js'
import type { Life } from './ledger.js'

export interface GuestMemory {
  balance: number
  sent: Record<string, number>
  got: Record<string, number>
  /** How often it has written to its disk. */
  writes: number
  started: boolean
}

export interface Coin { from: string; to: string; seq: number; amount: number; life: number }

export const firstBalance = 1000
const etherType = 0x88b5

export const newMemory = (): GuestMemory => ({ balance: firstBalance, sent: {}, got: {}, writes: 0, started: false })

export function coinFrame(toMac: string, fromMac: string, coin: Coin): Buffer {
  const text = Buffer.from(JSON.stringify(coin))
  const frame = Buffer.alloc(14 + text.length)
  frame.write(toMac.replaceAll(':', ''), 0, 6, 'hex')
  frame.write(fromMac.replaceAll(':', ''), 6, 6, 'hex')
  frame.writeUInt16BE(etherType, 12)
  text.copy(frame, 14)
  return frame
}

export const coinOf = (frame: Buffer): Coin => JSON.parse(frame.toString('utf8', 14)) as Coin

/** A frame has reached the guest. */
export function receive(memory: GuestMemory, me: string, coin: Coin, life: Life): void {
  if (coin.to !== me) return // flooded to us, for another one
  const last = memory.got[coin.from] ?? 0
  if (coin.seq <= last) {
    world().violate(`order, nothing twice: ${me} (${life.name}) got ${coin.seq} of ${coin.from} after ${last}`)
    return
  }
  for (let seq = last + 1; seq < coin.seq; seq++) {
    if (life.excuses(coin.from, seq)) world().probe('frame lost on a pulled cable')
    else world().violate(`nothing lost: ${me} (${life.name}) never got ${seq} of ${coin.from}, and has ${coin.seq}`)
  }
  memory.got[coin.from] = coin.seq
  memory.balance += coin.amount
}
