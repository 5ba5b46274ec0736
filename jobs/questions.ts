// Short questions of the AM that only an agent can answer, which the AM is given no way to: they go through Redis to the
// worker, in a queue of their own, so that none stands behind a long operation. The answer lies in a key for as long as
// somebody may wait for it. (BullMQ would keep return values in its stream of events, far longer than anybody reads them.)
import { Queue, type Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { explain, Failure, Refusal, type FailureCode, type RefusalCode } from '../base/errors.js'
import { token, type Random } from '../base/random.js'
import { until, type Clock } from '../base/time.js'
import type { JobParts } from './surroundings.js'
import { noteHosts } from './vm-watch.js'

export const questionsQueue = 'questions'

export interface Questions {
  /** The ends of consoles, by VM. Fails when the worker, or one of the hosts, does not answer in time. */
  consoles(of: { host: string; vm: string }[], bytes: number): Promise<Record<string, string>>
  /** After: the image is gone, and no longer in the host's record. Fails as above. */
  removeImage(host: string, id: string): Promise<void>
}

/** What a question's job carries. */
export type Question = { ask: 'consoles'; of: { host: string; vm: string }[]; bytes: number } | { ask: 'remove-image'; host: string; image: string }
type Answer = { texts: Record<string, string> } | { refusal: RefusalCode; why: string } | { failure: FailureCode; why: string }

const answerMs = 10_000
const lookMs = 20
const keptSeconds = 30
const answerKey = (id: string): string => `answer:${id}`

/** The AM's side. */
export function openQuestions(redis: Redis, at: { clock: Clock; random: Random; waitMs?: number }): Questions & { close(): Promise<void> } {
  const queue = new Queue<Question>(questionsQueue, { connection: redis })
  queue.on('error', () => undefined)

  async function ask(question: Question): Promise<Record<string, string>> {
    const id = `q-${token(at.random, 8)}`
    await queue.add(question.ask, question, { jobId: id, attempts: 1, removeOnComplete: true, removeOnFail: true })
    const text = await until(at.clock, at.waitMs ?? answerMs, lookMs, async () => (await redis.getdel(answerKey(id))) ?? undefined)
    if (text === undefined) {
      await queue.remove(id).catch(() => undefined) // nobody waits for it any more
      throw new Failure('timed-out', 'the worker of this aggregate does not answer at present: try again in a few seconds')
    }
    const answer = JSON.parse(text) as Answer
    if ('refusal' in answer) throw new Refusal(answer.refusal, answer.why)
    if ('failure' in answer) throw new Failure(answer.failure, answer.why)
    return answer.texts
  }

  return {
    consoles: (of, bytes) => ask({ ask: 'consoles', of, bytes }),
    removeImage: async (host, image) => { await ask({ ask: 'remove-image', host, image }) },
    close: () => queue.close(),
  }
}

/** The worker's side: answers one question. A question that nobody waits for any more is passed over. */
export function questionAnswerer(redis: Redis, at: Pick<JobParts, 'hosts' | 'store' | 'clock' | 'log'>): (job: Job<Question>) => Promise<void> {
  return async ({ id, timestamp, data }) => {
    if (at.clock.now() - timestamp > answerMs) return
    const answer = await answered(at, data).catch((error: unknown): Answer => {
      if (error instanceof Refusal) return { refusal: error.code, why: explain(error) }
      return { failure: error instanceof Failure ? error.code : 'failed', why: explain(error) }
    })
    await redis.set(answerKey(id!), JSON.stringify(answer), 'EX', keptSeconds)
  }
}

async function answered(at: Pick<JobParts, 'hosts' | 'store' | 'clock' | 'log'>, question: Question): Promise<Answer> {
  if (question.ask === 'remove-image') {
    await at.hosts.removeImage(question.host, question.image)
    await noteHosts(at) // before anybody asks for the list again
    return { texts: {} }
  }
  const { of, bytes } = question
  const texts = await Promise.all(of.map(async ({ host, vm }) => [vm, await at.hosts.console(host, vm, bytes)] as const))
  return { texts: Object.fromEntries(texts) }
}
