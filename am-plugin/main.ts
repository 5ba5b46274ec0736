// The aggregate manager: speaks the AM API, reads and changes records, hands work to the worker. It reads hostile XML, so
// it has no way to the agents.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { armFaults } from '../base/fault-points.js'
import { makeLog } from '../base/log.js'
import { realRandom as random } from '../base/random.js'
import { realClock as clock } from '../base/time.js'
import { makeUrn } from '../base/urn.js'
import { verifyPeer } from '../certs/remembered.js'
import { TrustFolder } from '../certs/trust-folder.js'
import { openOperationQueue, openRedis, type RedisAt } from '../jobs/queues.js'
import { standardQuotas, type Quotas } from '../slices/quota.js'
import { openQuestions } from '../jobs/questions.js'
import { openSliceStore } from '../slices/redis-slice-store.js'
import { openAudit } from './audit.js'
import { answer } from './call.js'
import { consolePage } from './console-page.js'
import type { AmParts } from './context.js'
import type { Rate } from './rate-limit.js'
import { serve } from './server.js'

export interface AmConfig {
  listen: { host: string; port: number }
  publicUrl: string
  authority: string
  keyFile: string
  certFile: string
  trust: string[]
  /** Are certificates good that are signed with SHA-1? */
  acceptSha1?: boolean
  speakingTools?: string[]
  /** Where the audit log goes; nowhere without it. */
  auditFile?: string
  redis: RedisAt
  software: string
  quotas?: Quotas
  rate?: Rate | 'none'
  operators?: string[]
  sources?: string[]
  logLevel?: string
  /** Orders for fault points: tests only. */
  faults?: string
}

const config = JSON.parse(process.env['VIOLIN_CONFIG'] ?? '{}') as AmConfig
const log = makeLog('am', config.logLevel)
armFaults(config.faults)
const redis = openRedis(config.redis)
const queue = openOperationQueue(redis)
const questions = openQuestions(redis, { clock, random })
const parts: AmParts = {
  store: openSliceStore(redis, (what, why) => log.error({ what, why }, 'a record cannot be read: it is left alone')),
  queue, questions, authority: config.authority, urn: makeUrn(config.authority, 'authority', 'am'),
  ownCertificate: new X509Certificate(readFileSync(config.certFile)).raw,
  operators: config.operators ?? [],
  publicUrl: config.publicUrl.replace(/\/$/, ''), software: config.software,
  quotas: config.quotas ?? standardQuotas, sources: config.sources ?? [], clock, random, log, speakingTools: config.speakingTools ?? [],
  ...(config.auditFile ? { audit: openAudit(config.auditFile, (err) => log.error({ err }, 'a line of the audit log could not be written')) } : {}),
}
const trust = new TrustFolder({
  paths: config.trust, acceptSha1: config.acceptSha1 ?? false, monotonic: () => clock.monotonic(), warn: (why) => log.warn({ why }, 'trusted roots'),
  changed: ({ certificates, crls }) => log.info({ certificates: certificates.length, crls: crls.length }, 'trusted roots were read'),
})
const server = await serve({
  ...config.listen, key: readFileSync(config.keyFile, 'utf8'), cert: readFileSync(config.certFile, 'utf8'), log,
  ...(config.rate ? { rate: config.rate } : {}),
  callerOf: (peer) => {
    const verdict = verifyPeer(peer, trust.store(), clock.now())
    return verdict.ok ? verdict.certificate.urn : undefined
  },
  handle: (call) => answer(parts, () => trust.store(), call), page: (ask) => consolePage(parts, trust.store(), ask),
})
log.info({ url: server.url }, 'AM is up')
process.send?.({ ready: true, url: server.url })

process.on('SIGTERM', () => {
  void (async () => {
    await server.close()
    await Promise.all([queue.close(), questions.close()])
    redis.disconnect()
    process.disconnect?.()
  })()
})
