// An aggregate without network, Redis or hosts: `answer` itself with real certificates and credentials, and a clock
// that stands still until somebody sleeps.
import assert from 'node:assert/strict'
import { silentLog } from '../../../base/log.js'
import { realRandom } from '../../../base/random.js'
import { rfc3339 } from '../../../base/time.js'
import { answer } from '../../../am-plugin/call.js'
import type { AmParts } from '../../../am-plugin/context.js'
import type { Struct, Value } from '../../../am-plugin/xmlrpc/value.js'
import { splitPem } from '../../../certs/certificate.js'
import { endOperation } from '../../../slices/slice-lock.js'
import { standardQuotas } from '../../../slices/quota.js'
import type { SliceRecord } from '../../../slices/slice.js'
import type { OperationalState } from '../../../slices/sliver.js'
import type { SnapshotEntry } from '../../../snapshots/needs.js'
import { memoryQueue, openMemoryStore } from '../../fakes/memory-store.js'
import { field, now, read } from '../certs/field.js'

export const minute = 60_000
export const rspecVersion: Struct = { geni_rspec_version: { type: 'GENI', version: '3' } }

export function requestOf(names: string[], extra = ''): string {
  const nodes = names.map((n) => `<node client_id="${n}" exclusive="false"><interface client_id="${n}:0"/></node>`).join('')
  const refs = names.map((n) => `<interface_ref client_id="${n}:0"/>`).join('')
  const link = names.length > 1 ? `<link client_id="lan-${names[0]!}">${refs}</link>` : ''
  return `<rspec type="request" xmlns="http://www.geni.net/resources/rspec/3" xmlns:violin="urn:geni-violin:rspec:ext:checkpoint:1">${extra}` +
    `${names.length > 1 ? nodes : `<node client_id="${names[0]!}"/>`}${link}</rspec>`
}

export interface Answered { code: number; value: Value; output: string; whole: Struct }

export async function aggregate(memoryFreeMiB = 4096) {
  const { alice, slice, trust, credential, federation } = await field()
  const own = splitPem(read(federation.am.certificate))
  const store = openMemoryStore()
  const queue = memoryQueue()
  const time = { at: now, whileAsleep: undefined as (() => Promise<unknown>) | undefined }
  const clock = {
    now: () => time.at, monotonic: () => time.at,
    sleep: async (ms: number) => { time.at += ms; await time.whileAsleep?.() },
  }
  const lines: Record<string, unknown>[] = []
  /** What the hosts say of consoles, and what was asked. */
  const consoles = { texts: {} as Record<string, string>, asked: [] as unknown[] }
  const removed: string[][] = []
  const note = (fields: Record<string, unknown>) => { lines.push(fields) }
  const parts: AmParts = {
    store, queue,
    questions: {
      consoles: async (of, bytes) => { consoles.asked.push({ of, bytes }); return consoles.texts },
      removeImage: async (host, id) => { removed.push([host, id]) },
    },
    authority: 'lab.example', ownCertificate: own[0]!, urn: 'urn:publicid:IDN+lab.example+authority+am', publicUrl: 'https://am.lab.example:8443',
    software: '0.1.0', quotas: standardQuotas, clock, random: realRandom, log: Object.assign(Object.create(silentLog) as typeof silentLog, { info: note, error: note }),
  }
  await store.saveHost({
    host: 'local', accelerator: 'tcg', memoryMiB: memoryFreeMiB, memoryFreeMiB, storeFreeBytes: 1e10, images: ['bank'], at: rfc3339(now), alive: true,
  })
  const peer = splitPem(read(alice.certificate))
  const credentials: Value[] = [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: credential }]

  async function call(method: string, params: Value[], other: { path?: string; peer?: Buffer[] } = {}): Promise<Answered> {
    const whole = (await answer(parts, () => trust, { callId: 'c1', path: '/am/3.0', peer, method, params, ...other })) as Struct
    const code = (whole['code'] as Struct)['geni_code'] as number
    return { code, value: whole['value']!, output: whole['output'] as string, whole }
  }
  const record = async (): Promise<SliceRecord> => (await store.slice(slice.urn))!
  const on = async (method: string, ...rest: Value[]) => call(method, [[slice.urn], credentials, ...rest])
  const poa = async (action: string, options: Struct = {}, urns: string[] = [slice.urn]) =>
    call('PerformOperationalAction', [urns, credentials, action, options])
  const allocate = async (names: string[], options: Struct = {}) => call('Allocate', [slice.urn, credentials, requestOf(names), options])
  /** What the worker does at the end of an operation, and the state it leaves the slivers in. */
  async function settle(state?: OperationalState): Promise<void> {
    const holder = (await record()).operation
    const change = (r: SliceRecord) => { for (const s of r.slivers) if (state && s.allocation === 'geni_provisioned') s.operational = state }
    const operation = holder ? await store.operation(holder.id) : undefined
    if (operation) await endOperation(parts, operation, { state: 'done' }, change)
    else await store.update(slice.urn, (r) => { change(r); return r })
  }
  async function ready(names = ['a', 'b']): Promise<SliceRecord> {
    ok(await allocate(names))
    ok(await on('Provision', {}))
    await settle('geni_ready')
    await store.update(slice.urn, (r) => ({ ...r, run: 'r1' }))
    queue.added.length = 0
    return record()
  }
  return { parts, own, store, queue, time, lines, consoles, removed, sliceUrn: slice.urn, sliceUuid: slice.uuid, expires: slice.expires, credentials, call, on, poa, allocate, settle, ready, record }
}

export function ok(answered: Answered): Value {
  assert.equal(answered.code, 0, answered.output)
  assert.equal(answered.output, '')
  return answered.value
}

/** A refusal: its code, one sentence that matches, and a value that is there and says nothing. */
export function refused(answered: Answered, code: number, sentence: RegExp): void {
  assert.equal(answered.code, code, answered.output)
  assert.match(answered.output, sentence)
  assert.ok(answered.value === '' || (Array.isArray(answered.value) && answered.value.length === 0))
}

export const listOf = (value: Value): Struct[] => (Array.isArray(value) ? value : (value as Struct)['geni_slivers']) as Struct[]
export const states = (value: Value): unknown[] => listOf(value).map((s) => s['geni_operational_status'])

export function entry(id: string, more: Partial<SnapshotEntry> = {}): SnapshotEntry {
  return {
    format: 1, id, urn: `urn:publicid:IDN+lab.example+snapshot+${id}`, name: '', slice: '', origin: 'user', kind: 'live', mode: 'live', parent: '',
    created: rfc3339(now), run: 'r1', epoch: 1, members: [], pauseMs: { a: 7.5, b: 8 }, phasesMs: {}, skewMs: 0.25, framesHeld: 3,
    longestHoldMs: 9.5, framesRecorded: 4, framesPutBack: 5, framesDropped: {}, bytes: 3_000_000_000, committedMs: 812.6, ...more,
  }
}
