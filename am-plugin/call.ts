// The path of every call: who is it, what is asked, may they, do it, answer, one line in the audit log. Whatever goes
// wrong on the way becomes a GENI struct with one clear sentence; faults are for methods that do not exist.
import { explain, Refusal } from '../base/errors.js'
import { rfc3339 } from '../base/time.js'
import { authorize } from '../certs/authorize.js'
import type { GeniCertificate } from '../certs/certificate.js'
import { verifyPeer } from '../certs/remembered.js'
import type { TrustStore } from '../certs/trust.js'
import { auditLine, type Who } from './audit.js'
import type { AmCall, AmParts } from './context.js'
import { codeOf, failure, success } from './geni-codes.js'
import { allocate } from './methods/allocate.js'
import { createSliver } from './methods/create-sliver.js'
import { deleteSlivers } from './methods/delete.js'
import { describe } from './methods/describe.js'
import { getVersion } from './methods/get-version.js'
import { createImage, deleteImage, listImages } from './methods/images.js'
import { listResources } from './methods/list-resources.js'
import { performOperationalAction } from './methods/perform-operational-action.js'
import { violinExpire, violinSlices } from './methods/operators.js'
import { provision } from './methods/provision.js'
import { renew } from './methods/renew.js'
import { shutdown } from './methods/shutdown.js'
import { sliverStatus } from './methods/sliver-status.js'
import { status } from './methods/status.js'
import { deleteSliver, listResources2, renewSliver } from './methods/version-2.js'
import { isOperator, maybeOperator, operatorCall } from './operator.js'
import { CallFault, type ServerCall } from './server.js'
import { isStruct, type Value } from './xmlrpc/value.js'

type Method = (at: AmParts, call: AmCall, params: Value[]) => Promise<Value>

/** ProtoGENI's, the same in both versions. */
const imageCalls = { CreateImage: createImage, ListImages: listImages, DeleteImage: deleteImage }

const methods: Record<2 | 3, Map<string, Method>> = {
  2: new Map<string, Method>(Object.entries({
    ListResources: listResources2, CreateSliver: createSliver, SliverStatus: sliverStatus, RenewSliver: renewSliver, DeleteSliver: deleteSliver,
    Shutdown: shutdown, ...imageCalls,
  })),
  3: new Map<string, Method>(Object.entries({
    ListResources: listResources, Describe: describe, Allocate: allocate, Provision: provision, Status: status,
    PerformOperationalAction: performOperationalAction, Renew: renew, Delete: deleteSlivers, Shutdown: shutdown,
    violin_slices: violinSlices, ...imageCalls, violin_expire: violinExpire,
  })),
}
/** Known to v4 or to other aggregates, and said to be so rather than "unknown method". */
const elsewhere = new Set(['Update', 'Cancel'])
const known = (method: string): boolean => methods[2].has(method) || methods[3].has(method)
const v3Paths = new Set(['/am/3.0', '/protogeni/xmlrpc/am/3.0'])
/** Without a version in the path it is v2: what portals and Omni try first. One path speaks one version for ever: clients keep GetVersion for a week. */
const v2Paths = new Set(['/', '/RPC2', '/am', '/am/2.0', '/protogeni/xmlrpc/am', '/protogeni/xmlrpc/am/2.0'])

/** Answers one call. `trust` is asked each time, so that roots can change while we serve. */
export async function answer(at: AmParts, trust: () => TrustStore, call: ServerCall): Promise<Value> {
  const begun = at.clock.monotonic()
  const who: Who = { caller: '', ...(call.method === 'GetVersion' ? { granted: 'everybody may ask' } : {}) }
  const audit = (level: 'info' | 'error', code: number, error?: unknown) => {
    const on = targetOf(call)
    const said = error === undefined ? undefined : explain(error)
    const ms = Math.round(at.clock.monotonic() - begun)
    at.log[level]({
      callId: call.callId, caller: who.caller, method: call.method.slice(0, 80), target: on, allowed: error === undefined,
      ...(error === undefined ? {} : { ...(error instanceof CallFault ? {} : { code }), why: said, ...(code === 5 ? { err: error } : {}) }), ms,
    }, 'call')
    at.audit?.(auditLine(rfc3339(at.clock.now()), { call, who, on, code, said, ms }))
  }
  try {
    const answered = await dispatch(at, trust, call, who)
    audit('info', 0)
    return answered
  } catch (error) {
    if (error instanceof CallFault) {
      audit('info', error.code, error)
      throw error
    }
    const code = codeOf(error)
    // a refusal is the caller's affair, what is neither refusal nor failure is ours
    audit(code === 5 ? 'error' : 'info', code, error)
    return failure(error, call.method)
  }
}

async function dispatch(at: AmParts, trust: () => TrustStore, call: ServerCall, who: Who): Promise<Value> {
  const { method, path } = call
  const api = versionAt(path)
  if (!known(method) && method !== 'GetVersion' && !elsewhere.has(method)) throw new CallFault(-32601, `there is no method ${method.slice(0, 80)}`)
  if (method === 'GetVersion' && api !== undefined) return { ...success(getVersion(at, api)), geni_api: api }
  if (api === undefined) throw new Refusal('unsupported', notSpoken(at, call))
  const trusted = trust()
  const asked = isOperator(at, call.peer) ? operatorCall(at, call, who)
    : maybeOperator(at, callOf(call, identify(call, trusted, at.clock.now()), trusted, at, who), who)
  who.caller = asked.caller
  const run = methods[api].get(method)
  if (!run) throw new Refusal('unsupported', notSpoken(at, call))
  return success(await run(at, asked, call.params))
}

function versionAt(path: string): 2 | 3 | undefined {
  const plain = path.length > 1 ? path.replace(/\/$/, '') : path
  return v3Paths.has(plain) ? 3 : v2Paths.has(plain) ? 2 : undefined
}

function notSpoken(at: AmParts, { method, path }: ServerCall): string {
  const where = versionAt(path) === undefined ? `at ${path.slice(0, 80)}` : `in AM API v${versionAt(path)!}, which is spoken at ${path.slice(0, 80)}`
  if (!known(method)) {
    return `${method} is not spoken ${where}: this aggregate has AM API v2 at ${at.publicUrl}/am/2.0 and v3 at ${at.publicUrl}/am/3.0, without it`
  }
  const there = ([2, 3] as const).filter((api) => methods[api].has(method)).map((api) => `AM API v${api} at ${at.publicUrl}/am/${api}.0`)
  return `${method} is not spoken ${where}: it is a method of ${there.join(' and of ')}`
}

/** The slice or sliver that a call is about, for the audit log. */
function targetOf({ method, params }: ServerCall): string {
  if (!known(method) || method === 'ListResources') return ''
  const first = Array.isArray(params[0]) ? params[0][0] : params[0]
  return typeof first === 'string' ? first.slice(0, 300) : ''
}

function identify(call: ServerCall, trust: TrustStore, now: number): GeniCertificate {
  const verdict = verifyPeer(call.peer, trust, now)
  if (!verdict.ok) throw new Refusal('forbidden', `your certificate is not accepted here: ${verdict.why}`)
  return verdict.certificate
}

function callOf(call: ServerCall, caller: GeniCertificate, trust: TrustStore, at: AmParts, who: Who): AmCall {
  return {
    callId: call.callId,
    caller: caller.urn,
    authorize(credentials, operation, sliceUrn) {
      const speakingFor = speakingForOf(call)
      const verdict = authorize({
        caller, credentials, operation, trust, now: at.clock.now(), ...(sliceUrn !== undefined ? { sliceUrn } : {}),
        ...(speakingFor !== undefined ? { speakingFor, tools: at.speakingTools ?? [] } : {}),
      })
      if (verdict.user !== undefined) Object.assign(who, { caller: verdict.user, tool: caller.urn })
      if (!verdict.allowed) throw new Refusal(verdict.code, verdict.why)
      who.granted = verdict.why
      return verdict
    },
  }
}

/** Of all methods the options are the last argument; one that is there and is no string is no reason to forget about it. */
function speakingForOf({ params }: ServerCall): string | undefined {
  const options = params.at(-1)
  const urn = isStruct(options) ? options['geni_speaking_for'] : undefined
  if (urn === undefined || typeof urn === 'string') return urn?.trim()
  throw new Refusal('bad-arguments', 'option geni_speaking_for must be the URN of the user, a string')
}
