// The operator of the aggregate: whoever shows the aggregate's own certificate, and so holds its key. No authority can make
// another one, and no credential is needed: after a Shutdown the operator is the only one who may act on a slice.
import { limits } from '../base/limits.js'
import type { AmCall, AmParts } from './context.js'
import type { ServerCall } from './server.js'

/** TLS has proven that the client holds the key of its first certificate. */
export const isOperator = (at: AmParts, peer: Buffer[]): boolean => at.ownCertificate !== undefined && peer[0]?.equals(at.ownCertificate) === true

/** A call of the operator: everything is allowed, on every slice. */
export function operatorCall(at: AmParts, { callId }: ServerCall): AmCall {
  return {
    callId, caller: at.urn,
    authorize: () => ({ owner: at.urn, expires: at.clock.now() + limits.provisionedLifeMs, operator: true }),
  }
}
