// Do VMs run? Their banks' counters move, or, where no frame can move, their guests answer.
import assert from 'node:assert/strict'
import { realClock as clock, until } from '../../base/time.js'
import type { Bank } from '../../cli/bank/reader.js'

/** What a slice may lose of its life to any fault. */
export const recoverMs = 10_000

/** Each has sent more, to whomever, within 10 s. */
export async function assertSending(banks: Bank[], who: string): Promise<void> {
  const sent = async (bank: Bank) => (await bank.report().catch(() => undefined))?.channels.reduce((n, c) => n + c.sent, 0)
  const one = async (bank: Bank) => {
    const begun = clock.monotonic()
    let before: number | undefined
    const moves = await until(clock, recoverMs, 50, async () => {
      const now = await sent(bank)
      if (now !== undefined && before !== undefined && now !== before) return true
      before = now ?? before
      return undefined
    })
    assert.ok(moves && clock.monotonic() - begun < recoverMs, `${bank.name} of ${who} stands still for ${Math.round(clock.monotonic() - begun)} ms at ${before ?? 'nothing'}`)
  }
  await Promise.all(banks.map(one))
}

/** Each guest answers within 10 s, over its management login, which needs no switch. */
export async function assertAnswering(banks: Bank[], who: string): Promise<void> {
  await Promise.all(banks.map((bank) => bank.report().catch((cause: unknown) => assert.fail(`${bank.name} of ${who}: ${String(cause)}`))))
}
