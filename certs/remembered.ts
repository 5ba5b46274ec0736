// What has been verified once is not verified again while it must come out the same. A verdict depends on the bytes that
// were sent, on the trust store (a new object whenever a root or CRL changed, so what was remembered goes with the old
// one) and on the time: so each is kept under the digest of its bytes, for this store, until the first of all expiries
// that went into it. Only what was accepted is kept, and nothing of what a call asks for is part of it.
import { createHash } from 'node:crypto'
import type { Certificate } from './certificate.js'
import { skewMs, verifyChain, type ChainVerdict, type TrustStore } from './trust.js'

/** The time in which a verdict holds; it shrinks with each certificate and each expiry that goes into it. */
export class Span {
  from = -Infinity
  until = Infinity

  certificates(path: readonly Certificate[]): void {
    for (const c of path) this.from = Math.max(this.from, c.notBefore - skewMs)
    this.expiry(...path.map((c) => c.notAfter))
  }

  expiry(...instants: number[]): void {
    this.until = Math.min(this.until, ...instants)
  }
}

/** A few for each user who is active; each takes some ten kilobytes. */
const most = 500
const stores = new WeakMap<TrustStore, Map<string, { value: unknown; span: Span }>>()

/** The value found for these bytes before, or that of `find`, which throws or lets the span end now when it is not to be kept. */
export function remembered<T>(what: string, bytes: string | readonly Buffer[], trust: TrustStore, now: number, find: (span: Span) => T): T {
  const kept = stores.get(trust) ?? new Map<string, { value: unknown; span: Span }>()
  stores.set(trust, kept)
  const key = keyOf(what, bytes)
  const before = kept.get(key)
  kept.delete(key)
  if (before !== undefined && now >= before.span.from && now < before.span.until) {
    kept.set(key, before) // the newest last, the oldest goes first
    return before.value as T
  }
  const span = new Span()
  const value = find(span)
  if (span.until > now) kept.set(key, { value, span })
  if (kept.size > most) kept.delete(kept.keys().next().value!)
  return value
}

function keyOf(what: string, bytes: string | readonly Buffer[]): string {
  const hash = createHash('sha256').update(`${what}\n`)
  for (const part of typeof bytes === 'string' ? [bytes] : bytes) hash.update(`${part.length}\n`).update(part)
  return hash.digest('base64')
}

/** verifyChain for a client that comes again and again with the same certificates. */
export function verifyPeer(chain: readonly Buffer[], trust: TrustStore, now: number): ChainVerdict {
  return remembered('peer', chain, trust, now, (span) => {
    const verdict = verifyChain(chain, trust, now)
    if (verdict.ok) span.certificates(verdict.path)
    else span.expiry(now)
    return verdict
  })
}
