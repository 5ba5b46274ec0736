// PerformOperationalAction(urns, credentials, action, options). Says at once whether the action may begin and returns the
// wait state; a job does the work. A wrong state or an unknown action is 13 UNSUPPORTED, as the acceptance suite wants.
import { Refusal } from '../../base/errors.js'
import type { NewSnapshot, Operation, OperationKind } from '../../slices/operation.js'
import { parsePolicy, policyXml } from '../../rspec/checkpoint.js'
import { noteEvent } from '../../slices/event.js'
import { beginOperation } from '../../slices/slice-lock.js'
import { provisioned, type SliceRecord } from '../../slices/slice.js'
import { isWaiting, mayBegin, type OperationalState, type Sliver } from '../../slices/sliver.js'
import type { SnapshotEntry } from '../../snapshots/needs.js'
import { boundsSnapshots, estimateOf, snapshotObjection, snapshotUse } from '../../snapshots/quota.js'
import {
  expiredText, findTarget, isWholeSlice, missingStructs, mustHaveSlivers, refuseExpired, refuseOtherSlice, refuseShutDown, sliverStruct, waitOut,
  type AmCall, type AmParts, type Target,
} from '../context.js'
import { credentialsArgument, flag, optionsArgument, textArgument, textOption, urnsArgument, usersOption } from '../options.js'
import { chooseSnapshot, newSnapshot, snapshotStruct, snapshotUrnOf } from '../snapshot-names.js'
import type { Struct, Value } from '../xmlrpc/value.js'
import { nameConsole, showConsoles, tellEvents, withProvisioned } from './reading-actions.js'

interface Action { kind: OperationKind; state?: OperationalState; text: string }

const actions: Record<string, Action> = {
  geni_start: { kind: 'start', state: 'geni_configuring', text: 'booting' },
  geni_stop: { kind: 'stop', state: 'geni_stopping', text: 'stopping' },
  geni_restart: { kind: 'restart', state: 'geni_configuring', text: 'booting anew' },
  geni_update_users: { kind: 'update-users', state: 'geni_updating_users', text: 'its accounts are being changed' },
  violin_snapshot: { kind: 'snapshot', state: 'violin_snapshotting', text: 'a snapshot is being taken' },
  violin_suspend: { kind: 'suspend', state: 'violin_suspending', text: 'being suspended' },
  violin_resume: { kind: 'resume', state: 'violin_resuming', text: 'being resumed' },
  violin_rollback: { kind: 'rollback', state: 'violin_rolling_back', text: 'being rolled back' },
  violin_delete: { kind: 'delete-snapshot', text: 'a snapshot is being deleted' },
}
/** What is done to each VM by itself, and so may fail for some of them. */
const perSliver = new Set(['geni_start', 'geni_stop', 'geni_restart', 'geni_update_users'])
/** For these the right to read is enough. */
const reading = new Set(['violin_list', 'violin_events', 'violin_console', 'geni_console_url'])

export async function performOperationalAction(at: AmParts, call: AmCall, params: Value[]): Promise<Value> {
  const urns = urnsArgument(params[0])
  const action = textArgument(params[2], 'action')
  const options = optionsArgument(params[3])
  const bestEffort = perSliver.has(action) && flag(options, 'geni_best_effort')
  let target = await findTarget(at, urns, bestEffort)
  const granted = call.authorize(credentialsArgument(params[1]), reading.has(action) ? 'read' : 'change', target.sliceUrn)
  if (action === 'geni_start' && target.slice?.operation?.kind === 'provision') {
    await waitOut(at, target.sliceUrn, 'provision') // clients start at once what they have provisioned, and that must succeed
    target = await findTarget(at, urns, bestEffort)
  }
  const slice = mustHaveSlivers(target)
  refuseOtherSlice(slice, granted)
  refuseShutDown(slice, granted)
  const states = Object.hasOwn(mayBegin, action) ? mayBegin[action]! : undefined
  if (!states) throw new Refusal('unsupported', `there is no action "${action.slice(0, 60)}" here: there are ${Object.keys(mayBegin).join(', ')}`)
  if (action === 'violin_console' || action === 'geni_console_url') {
    target = withProvisioned(slice, target)
    refuseState(action, states, slice, target.slivers)
    return action === 'violin_console' ? showConsoles(at, target, options) : nameConsole(at, target)
  }
  if (action.startsWith('violin_') && !isWholeSlice(target)) {
    throw new Refusal('unsupported', `${action} works on whole slices: give the slice URN, or all ${provisioned(slice).length} of its slivers`)
  }
  if (action.startsWith('violin_')) target = withProvisioned(slice, target)
  const failed = missingStructs(at, target)
  if (bestEffort) {
    const objections = new Map(target.slivers.map((s) => [s, expiredText(at, s) ?? objectionTo(action, states, slice, s)?.message]))
    target = { ...target, slivers: target.slivers.filter((s) => objections.get(s) === undefined) }
    for (const [s, why] of objections) if (why !== undefined) failed.push(sliverStruct(s, { geni_error: why }))
  }
  refuseState(action, states, slice, target.slivers)
  const catalogue = (await at.store.snapshots(slice.uuid)) as SnapshotEntry[]
  if (action === 'violin_list') return list(target, catalogue, slice.head)
  if (action === 'violin_events') return tellEvents(at, slice, target, options)
  if (action === 'violin_set_policy') return setPolicy(at, granted.owner, slice, target, textOption(options, 'violin_policy'))
  refuseExpired(at, target.slivers)
  if (target.slivers.length === 0 || (action === 'geni_start' && target.slivers.every((s) => s.operational !== 'geni_notready'))) {
    return [...target.slivers.map((s) => sliverStruct(s)), ...failed]
  }
  const takesOne = ['violin_snapshot', 'violin_suspend'].includes(action) || (action === 'violin_rollback' && flag(options, 'violin_snapshot_first'))
  if (takesOne) await refuseOverQuota(at, slice, catalogue)
  return [...await begin(at, call, granted.owner, { action, options, slice, target, catalogue }), ...failed]
}

interface Asked { action: string; options: Struct; slice: SliceRecord; target: Target; catalogue: SnapshotEntry[] }

async function begin(at: AmParts, call: AmCall, who: string, asked: Asked): Promise<Struct[]> {
  const { action, slice } = asked
  const { kind, state, text } = actions[action]!
  const { params, extra } = parametersOf(at, asked)
  const chosen = new Set(chosenFor(asked).map((s) => s.id))
  const { slice: after, operation: begun } = await beginOperation(at, slice.urn, {
    kind, who, why: action, callId: call.callId, params: { slivers: [...chosen], ...params },
  }, (record, operation) => {
    refuseState(action, mayBegin[action]!, record, record.slivers.filter((s) => chosen.has(s.id))) // it may have changed since we looked
    if (params.first) refuseUnready(provisioned(record))
    operation.params = { ...operation.params, was: Object.fromEntries(record.slivers.filter((s) => chosen.has(s.id)).map((s) => [s.id, s.operational])) }
    for (const sliver of record.slivers.filter((s) => chosen.has(s.id))) {
      if (state) sliver.operational = state
      sliver.resourceStatus = text
    }
  })
  await at.queue.add(begun)
  const told = { ...extra, violin_operation: begun.id } // Status with this id says what became of it
  return after.slivers.filter((s) => asked.target.slivers.some((t) => t.id === s.id)).map((s) => sliverStruct(s, told))
}

/** The worker looks again before it cuts: then cuts that are under way count too. */
async function refuseOverQuota(at: AmParts, slice: SliceRecord, catalogue: SnapshotEntry[]): Promise<void> {
  if (!boundsSnapshots(at.quotas)) return
  const objection = snapshotObjection(at.quotas, await snapshotUse(at.store, slice), estimateOf(slice, catalogue))
  if (objection !== undefined) throw new Refusal('too-big', objection)
}

/** geni_start passes over what is running already. */
function chosenFor({ action, target }: Asked): Sliver[] {
  return action === 'geni_start' ? target.slivers.filter((s) => s.operational === 'geni_notready') : target.slivers
}

function parametersOf(at: AmParts, asked: Asked): { params: Operation['params']; extra: Struct } {
  const { action, options, slice, catalogue } = asked
  if (action === 'violin_snapshot' || action === 'violin_suspend') {
    const made = newSnapshot(at.random, options, catalogue)
    return { params: { ...made }, extra: { violin_snapshot: snapshotUrnOf(at.authority, made.snapshot) } }
  }
  if (action === 'geni_update_users') {
    if (!Array.isArray(options['geni_users'])) {
      throw new Refusal('bad-arguments', 'geni_update_users needs the option geni_users: [{urn, keys}] of all who may log in')
    }
    return { params: { logins: usersOption(options) }, extra: {} }
  }
  if (action === 'violin_resume') {
    const suspended = catalogue.find((e) => e.id === slice.head)
    if (!suspended) throw new Refusal('not-found', 'the snapshot that the slice was suspended with is gone: violin_rollback to another one')
    return { params: { snapshot: suspended.id }, extra: { violin_snapshot: suspended.urn } }
  }
  if (action === 'violin_rollback' || action === 'violin_delete') {
    const wanted = textOption(options, 'violin_snapshot')
    if (wanted === undefined && action === 'violin_delete') {
      throw new Refusal('bad-arguments', 'violin_delete needs the option violin_snapshot: an id, URN or name as violin_list shows them')
    }
    const entry = chooseSnapshot(catalogue, wanted)
    if (action === 'violin_delete' && entry.id === slice.head && slice.slivers.some((s) => s.operational === 'violin_suspended')) {
      throw new Refusal('refused', `snapshot ${entry.id} holds the suspended slice: resume it first`)
    }
    const first = action === 'violin_rollback' ? snapshotFirst(at, asked) : undefined
    return {
      params: { snapshot: entry.id, ...(first ? { first } : {}) },
      extra: { violin_snapshot: entry.urn, ...(first ? { violin_snapshot_first: snapshotUrnOf(at.authority, first.snapshot) } : {}) },
    }
  }
  return { params: {}, extra: {} }
}

/** The snapshot of the present that a rollback is told to take before it begins. */
function snapshotFirst(at: AmParts, { options, target, catalogue }: Asked): NewSnapshot | undefined {
  if (flag(options, 'violin_snapshot_first')) {
    refuseUnready(target.slivers)
    return newSnapshot(at.random, options, catalogue)
  }
  const idle = ['violin_name', 'violin_note'].find((name) => textOption(options, name) !== undefined)
  if (idle === undefined) return undefined
  throw new Refusal('bad-arguments', `${idle} is for the snapshot that violin_snapshot_first takes before a rollback: give that option too`)
}

function refuseUnready(slivers: Sliver[]): void {
  const wrong = slivers.find((s) => s.operational !== 'geni_ready')
  if (!wrong) return
  throw new Refusal('unsupported', `violin_snapshot_first is not possible: ${wrong.clientId} is ${wrong.operational}, only a slice whose nodes are all ` +
    'geni_ready can be snapshotted; violin_rollback without it is possible')
}

function refuseState(action: string, states: OperationalState[], slice: SliceRecord, slivers: Sliver[]): void {
  for (const sliver of slivers) {
    const objection = objectionTo(action, states, slice, sliver)
    if (objection) throw objection
  }
}

function objectionTo(action: string, states: OperationalState[], slice: SliceRecord, sliver: Sliver): Refusal | undefined {
  if (sliver.allocation === 'geni_provisioned' && states.includes(sliver.operational)) return undefined
  if (slice.operation && !slice.operation.byPolicy && isWaiting(sliver.operational) && action.startsWith('violin_')) {
    return new Refusal('busy', `the slice is busy with ${slice.operation.kind} since ${slice.operation.since}: try again in a few seconds`)
  }
  const code = action === 'geni_update_users' ? 'refused' : 'unsupported' // so the text that defines the action has it
  const possible = Object.keys(mayBegin).filter((name) => mayBegin[name]!.includes(sliver.operational))
  return new Refusal(code, `${action} is not possible: ${sliver.clientId} is ${sliver.operational}, it must be ` +
    `${states.slice(0, 4).join(' or ')}; now possible: ${possible.join(', ') || 'Provision or Delete'}`)
}

/** Needs no job: the next tick of the clock goes by it. Without the option it only tells the policy that holds. */
async function setPolicy(at: AmParts, who: string, slice: SliceRecord, target: Target, xml: string | undefined): Promise<Value> {
  const policy = xml === undefined ? slice.policy : parsePolicy(xml)
  const after = xml === undefined ? slice : await at.store.update(slice.urn, (record) => ({ ...record, policy }))
  const text = policy ? policyXml(policy) : ''
  if (xml !== undefined) await noteEvent(at, slice, { kind: 'policy-set', text: `the checkpoint policy is now ${text}`, who })
  return after.slivers.filter((s) => target.slivers.some((t) => t.id === s.id)).map((s, i) => sliverStruct(s, i === 0 ? { violin_policy: text } : {}))
}

/** The first sliver carries the list, so that it is sent once. */
function list(target: Target, catalogue: SnapshotEntry[], head: string): Value {
  return target.slivers.map((s, i) => sliverStruct(s, i === 0 ? { violin_snapshots: catalogue.map((e) => snapshotStruct(e, head)) } : {}))
}
