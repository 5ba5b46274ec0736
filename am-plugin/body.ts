// Reads the body of one HTTP request within bounds. A body that is too big is still read to its end for a while and
// thrown away: a client that is cut off while it sends never reads the sentence that says what was wrong.
import type { IncomingMessage } from 'node:http'
import { Refusal } from '../base/errors.js'
import type { Admission } from './admission.js'

/** How much more than allowed is read in order to be polite. */
const politeness = 4

/** The body, at most `bound` bytes; they are held in `admission` for `caller` until the caller of this function releases them. */
export function readBody(request: IncomingMessage, bound: number, admission: Admission, caller: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let seen = 0
  let kept = 0
  let ended = false
  let refusal: Refusal | undefined
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown) => {
      admission.release(caller, kept)
      kept = 0
      chunks.length = 0
      refusal = error as Refusal
    }
    request.on('data', (chunk: Buffer) => {
      seen += chunk.length
      if (seen > bound * politeness) {
        request.removeAllListeners('data').pause()
        reject(refusal ?? tooBig(bound))
      } else if (refusal) {
        return
      } else if (seen > bound) {
        refuse(tooBig(bound))
      } else {
        try {
          admission.hold(caller, chunk.length)
          kept += chunk.length
          chunks.push(chunk)
        } catch (error) {
          refuse(error)
        }
      }
    })
    request.on('end', () => {
      ended = true
      if (refusal) reject(refusal)
      else resolve(Buffer.concat(chunks))
    })
    request.on('close', () => {
      if (ended) return
      admission.release(caller, kept)
      kept = 0
      reject(new Refusal('bad-arguments', 'the call broke off before its end'))
    })
    request.on('error', () => undefined) // 'close' follows
  })
}

function tooBig(bound: number): Refusal {
  return new Refusal('bad-arguments', `the call is larger than ${bound} bytes`)
}
