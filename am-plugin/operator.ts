// The operators of the aggregate: whoever shows the aggregate's own certificate, and so holds its key (no authority can make
// another one), and users whom whoever started the aggregate has named by URN. They need no credential: after a Shutdown
// they are the only ones who may act on a slice.
import { limits } from '../base/limits.js'
import { Refusal } from '../base/errors.js'
import type { Who } from './audit.js'
import type { AmCall, AmParts, Granted } from './context.js'
import type { ServerCall } from './server.js'

/** TLS has proven that the client holds the key of its first certificate. */
export const isOperator = (at: AmParts, peer: Buffer[]): boolean => at.ownCertificate !== undefined && peer[0]?.equals(at.ownCertificate) === true

/** A call of the operator: everything is allowed, on every slice. */
export function operatorCall(at: AmParts, { callId }: ServerCall, who: Who): AmCall {
  return { callId, caller: at.urn, operator: true, authorize: () => operatorsRight(at, at.urn, who) }
}

/**
 * A user's call as it is, or with an operator's rights when the user is one. What a credential of his own grants counts first: so
 * slices that he makes as anybody does are his, with their leases.
 */
export function maybeOperator(at: AmParts, call: AmCall, who: Who): AmCall {
  if (!at.operators?.includes(call.caller)) return call
  return {
    ...call, operator: true,
    authorize(credentials, operation, sliceUrn) {
      try {
        return { ...call.authorize(credentials, operation, sliceUrn), operator: true }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return operatorsRight(at, call.caller, who)
      }
    },
  }
}

function operatorsRight(at: AmParts, owner: string, who: Who): Granted {
  who.granted = 'an operator of this aggregate may do everything'
  return { owner, expires: at.clock.now() + limits.provisionedLifeMs, operator: true }
}
