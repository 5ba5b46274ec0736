// GET /console/SLIVER: the end of a console for a browser that has the user's certificate (geni_console_url names it). A GET
// carries no credential, so it is for the creator of the slice and nobody else.
import { explain, Failure } from '../base/errors.js'
import { makeUrn, sameUrn } from '../base/urn.js'
import { verifyChain, type TrustStore } from '../certs/trust.js'
import type { Sliver } from '../slices/sliver.js'
import type { AmParts } from './context.js'
import type { Page, PageAsk } from './server.js'

const bytes = 64 * 1024
const form = /^\/console\/([a-z0-9-]{1,100})$/

export const consoleUrl = (publicUrl: string, sliver: Sliver): string => `${new URL(publicUrl).origin}/console/${sliver.id}`

/** Undefined for every other path. */
export async function consolePage(at: AmParts, trust: TrustStore, ask: PageAsk): Promise<Page | undefined> {
  const id = form.exec(ask.path)?.[1]
  if (id === undefined) return undefined
  const { caller, page } = await pageOf(at, trust, ask, id)
  at.log.info({ callId: ask.callId, caller, page: ask.path, status: page.status }, 'page')
  return page
}

async function pageOf(at: AmParts, trust: TrustStore, { peer }: PageAsk, id: string): Promise<{ caller: string; page: Page }> {
  const verdict = verifyChain(peer, trust, at.clock.now())
  if (!verdict.ok) return { caller: '', page: { status: 403, text: `your certificate is not accepted here: ${verdict.why}\n` } }
  const caller = verdict.certificate.urn
  const say = (status: number, text: string) => ({ caller, page: { status, text } })
  const slice = await at.store.sliceOfSliver(makeUrn(at.authority, 'sliver', id))
  if (!slice) return say(404, `there is no sliver ${id} here\n`)
  if (!sameUrn(slice.creator, caller)) {
    return say(403, `the console of ${id} is shown to the creator of its slice and to nobody else: violin_console takes a credential\n`)
  }
  if (slice.shutdown) return say(403, `the slice of ${id} was shut down: ask the operator of this aggregate\n`)
  const sliver = slice.slivers.find((s) => s.id === id)
  if (sliver?.allocation !== 'geni_provisioned') return say(404, `${id} has no console: it is not provisioned\n`)
  try {
    return say(200, (await at.questions.consoles([{ host: sliver.host, vm: id }], bytes))[id] ?? '')
  } catch (error) {
    if (error instanceof Failure) return say(503, `${explain(error)}\n`)
    throw error
  }
}
