// How an error of any kind reaches the user: one sentence, and for programs a number, the one that the AM API has for it.
import { explain, Failure, Refusal } from '../../base/errors.js'
import { codeOf } from '../../am-plugin/geni-codes.js'
import { AmError } from '../am-client.js'

/** The user has pressed Ctrl-C while something goes on elsewhere. */
export class Interrupted extends Failure {
  override name = 'Interrupted'
  constructor(message: string) { super('aborted', message) }
}

/** As shells have it for a program that Ctrl-C has ended. */
export const interruptedExit = 130

/** Undefined for what is a bug and needs its stack. */
export function sentenceOf(error: unknown): string | undefined {
  if (error instanceof AmError) return error.output === '' ? error.message : error.output
  return error instanceof Refusal || error instanceof Failure ? explain(error) : undefined
}

export const numberOf = (error: unknown): number => (error instanceof AmError ? error.geniCode : codeOf(error))
export const exitOf = (error: unknown): number => (error instanceof Interrupted ? interruptedExit : 1)
