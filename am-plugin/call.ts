// The path of every call: who is it, what is asked, may they, do it, answer, one line in the audit log. Whatever goes
// wrong on the way becomes a GENI struct with one clear sentence; faults are for methods that do not exist.
import { explain, Refusal } from '../base/errors.js'
import { authorize } from '../certs/authorize.js'
import type { GeniCertificate } from '../certs/certificate.js'
import { verifyChain, type TrustStore } from '../certs/trust.js'
import type { AmCall, AmParts } from './context.js'
import { codeOf, failure, success } from './geni-codes.js'
import { allocate } from './methods/allocate.js'
import { deleteSlivers } from './methods/delete.js'
import { describe } from './methods/describe.js'
import { getVersion } from './methods/get-version.js'
import { listResources } from './methods/list-resources.js'
import { performOperationalAction } from './methods/perform-operational-action.js'
import { provision } from './methods/provision.js'
import { renew } from './methods/renew.js'
import { shutdown } from './methods/shutdown.js'
import { status } from './methods/status.js'
import { CallFault, type ServerCall } from './server.js'
import type { Value } from './xmlrpc/value.js'

type Method = (at: AmParts, call: AmCall, params: Value[]) => Promise<Value>

const methods = new Map<string, Method>(Object.entries({
  ListResources: listResources, Describe: describe, Allocate: allocate, Provision: provision, Status: status,
  PerformOperationalAction: performOperationalAction, Renew: renew, Delete: deleteSlivers, Shutdown: shutdown,
}))
/** Known to v2 or to other aggregates, and said to be so rather than "unknown method". */
const elsewhere = new Set(['CreateSliver', 'SliverStatus', 'RenewSliver', 'DeleteSliver', 'CreateImage', 'ListImages', 'DeleteImage', 'Update', 'Cancel'])
const v3Paths = new Set(['/am/3.0', '/am/3.0/'])
const v2Paths = new Set(['/', '/RPC2', '/am', '/am/', '/am/2.0', '/am/2.0/'])

/** Answers one call. `trust` is asked each time, so that roots can change while we serve. */
export async function answer(at: AmParts, trust: () => TrustStore, call: ServerCall): Promise<Value> {
  const begun = at.clock.monotonic()
  const who = { caller: '' }
  const audit = (level: 'info' | 'error', more: object) => at.log[level]({
    callId: call.callId, caller: who.caller, method: call.method.slice(0, 80), target: targetOf(call), ...more,
    ms: Math.round(at.clock.monotonic() - begun),
  }, 'call')
  try {
    const answered = await dispatch(at, trust, call, who)
    audit('info', { allowed: true })
    return answered
  } catch (error) {
    if (error instanceof CallFault) {
      audit('info', { allowed: false, why: error.message })
      throw error
    }
    const code = codeOf(error)
    // a refusal is the caller's affair, what is neither refusal nor failure is ours
    audit(code === 5 ? 'error' : 'info', { allowed: false, code, why: explain(error), ...(code === 5 ? { err: error } : {}) })
    return failure(error, call.method)
  }
}

async function dispatch(at: AmParts, trust: () => TrustStore, call: ServerCall, who: { caller: string }): Promise<Value> {
  const { method, path } = call
  const api = v3Paths.has(path) ? 3 : v2Paths.has(path) ? 2 : undefined
  const run = methods.get(method)
  if (!run && method !== 'GetVersion' && !elsewhere.has(method)) throw new CallFault(-32601, `there is no method ${method.slice(0, 80)}`)
  if (method === 'GetVersion' && api !== undefined) return { ...success(getVersion(at, api)), geni_api: api }
  if (api !== 3 || !run) {
    throw new Refusal('unsupported', `${method} is not spoken at ${path.slice(0, 80)}: this aggregate speaks AM API v3 at ${at.publicUrl}/am/3.0`)
  }
  const trusted = trust()
  const certificate = identify(call, trusted, at.clock.now())
  who.caller = certificate.urn
  return success(await run(at, callOf(call, certificate, trusted, at), call.params))
}

/** The slice or sliver that a call is about, for the audit log. */
function targetOf({ method, params }: ServerCall): string {
  if (!methods.has(method) || method === 'ListResources') return ''
  const first = Array.isArray(params[0]) ? params[0][0] : params[0]
  return typeof first === 'string' ? first.slice(0, 300) : ''
}

function identify(call: ServerCall, trust: TrustStore, now: number): GeniCertificate {
  const verdict = verifyChain(call.peer, trust, now)
  if (!verdict.ok) throw new Refusal('forbidden', `your certificate is not accepted here: ${verdict.why}`)
  return verdict.certificate
}

function callOf(call: ServerCall, caller: GeniCertificate, trust: TrustStore, at: AmParts): AmCall {
  return {
    callId: call.callId,
    caller: caller.urn,
    authorize(credentials, operation, sliceUrn) {
      const verdict = authorize({ caller, credentials, operation, trust, now: at.clock.now(), ...(sliceUrn !== undefined ? { sliceUrn } : {}) })
      if (!verdict.allowed) throw new Refusal(verdict.code, verdict.why)
      return verdict
    },
  }
}
