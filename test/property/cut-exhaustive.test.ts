// Coordinator and participants, the product's own, in every order of two hosts' answers with one fault: a lost answer, a
// doubled one, a host that refuses, a restart, a deadline. Each world must end; it commits only when every host has
// sealed, and a host that voided its cut is never part of a commit.
import assert from 'node:assert/strict'
import {
  isOver, newCoordinator, stepCoordinator, type CoordinatorEffect, type CoordinatorEvent, type CoordinatorState,
} from '../../snapshots/coordinator.js'
import type { HostCutAsk, HostReport, Outcome } from '../../snapshots/messages.js'
import {
  newParticipant, stepParticipant, type ParticipantEffect, type ParticipantEvent, type ParticipantState,
} from '../../snapshots/participant.js'
import { everyChoice } from '../every-choice.js'

type Fault = 'none' | 'lose' | 'double' | 'fail' | 'restart' | 'deadline' | 'expire' | 'forwarded' | 'no-room'
const faults: Fault[] = ['none', 'lose', 'double', 'fail', 'restart', 'deadline', 'expire', 'forwarded', 'no-room']
const header = { slice: 's', run: '0000000100000000', k: 2, op: 'op', token: 1 }
const order = { ...header, snapshot: 'snap', kind: 'live' as const, mode: 'live' as const, vms: ['vm'], force: false }
const hosts = ['h1', 'h2']
const window = 5
const steps = 26

interface Sent { run: () => void; name: string }

class World {
  coordinator: CoordinatorState = newCoordinator('op', 2, hosts)
  participants = new Map(hosts.map((h) => [h, newParticipant()]))
  outcome: Outcome | undefined
  sealed = new Set<string>()
  readonly flying: Sent[] = []
  readonly timers: (() => void)[] = []

  coordinate(event: CoordinatorEvent): void {
    const [next, effects] = stepCoordinator(this.coordinator, event)
    this.coordinator = next
    for (const effect of effects) this.lead(effect)
  }

  private lead(effect: CoordinatorEffect): void {
    if (effect.do === 'deadline') this.timers.push(() => this.coordinate({ type: 'deadline', phase: effect.phase }))
    else if (effect.do === 'decide') {
      this.outcome ??= effect.want
      this.coordinate({ type: 'decided', outcome: this.outcome, why: effect.why })
    } else {
      const ask: HostCutAsk = effect.do === 'tell' ? { ...header, ask: 'tell', outcome: effect.outcome }
        : effect.ask === 'prepare' ? { ...order, ask: 'prepare' } : { ...header, ask: effect.ask }
      this.send(`${ask.ask} to ${effect.host}`, () => this.take(effect.host, { type: 'ask', ask }))
    }
  }

  take(host: string, event: ParticipantEvent): void {
    const [next, effects] = stepParticipant(this.participants.get(host)!, event)
    this.participants.set(host, next)
    for (const effect of effects) this.work(host, effect)
  }

  private work(host: string, effect: ParticipantEffect): void {
    if (effect.do === 'answer') {
      if (effect.report.progress === 'sealed') this.sealed.add(host)
      this.send(`${effect.report.progress} from ${host}`, () => this.coordinate({ type: 'report', host, op: 'op', k: 2, report: effect.report }))
    } else if (effect.do === 'refuse') {
      this.send(`refusal from ${host}`, () => this.coordinate({ type: 'refused', host, op: 'op', k: 2, why: effect.why }))
    } else if (effect.do === 'work') {
      const report = reports[effect.work]
      this.send(`${effect.work} at ${host}`, () => this.take(host, { type: 'done', work: effect.work, report }))
    }
  }

  private send(name: string, run: () => void): void { this.flying.push({ name, run }) }
}

const reports: Record<string, HostReport | undefined> = {
  prepare: { progress: 'prepared', switchBootId: 'b' },
  cut: { progress: 'cut', switchBootId: 'b', vms: [] },
  seal: { progress: 'sealed', vms: [], channels: { name: '', bytes: 0, digest: '' }, log: {} as never },
}

function live(choose: (count: number) => number, fault: Fault, at: number): World {
  const world = new World()
  world.coordinate({ type: 'begin' })
  for (let step = 0; step < 200; step++) {
    if (world.flying.length === 0) break
    // every order within a window around the fault; first come, first served outside of it
    const [message] = world.flying.splice(Math.abs(step - at) <= window ? choose(world.flying.length) : 0, 1)
    if (step === at) strike(world, fault, message!)
    else message!.run()
  }
  // What is lost is found again: deadlines pass, and a host without word reads the outcome itself.
  for (const timer of [...world.timers]) timer()
  for (let step = 0; step < 100 && world.flying.length > 0; step++) world.flying.shift()!.run()
  for (const timer of [...world.timers]) timer()
  for (const host of hosts) {
    world.take(host, { type: 'expired', phase: world.participants.get(host)!.phase })
    if (world.participants.get(host)!.phase === 'sealed' && world.outcome) world.take(host, { type: 'ask', ask: { ...header, ask: 'tell', outcome: world.outcome } })
  }
  for (let step = 0; step < 100 && world.flying.length > 0; step++) world.flying.shift()!.run()
  return world
}

function strike(world: World, fault: Fault, message: Sent): void {
  const host = message.name.includes('h2') ? 'h2' : 'h1'
  switch (fault) {
    case 'none': message.run(); break
    case 'lose': if (/ at /.test(message.name)) message.run(); break
    case 'double': message.run(); message.run(); break
    case 'fail': {
      const work = message.name.split(' at ')[0]!
      if (/ at /.test(message.name)) world.take(host, { type: 'failed', work: work as 'cut', why: 'broken' })
      else message.run()
      break
    }
    case 'restart': world.take(host, { type: 'restarted' }); message.run(); break
    case 'deadline': world.coordinate({ type: 'deadline', phase: world.coordinator.phase }); message.run(); break
    case 'expire': world.take(host, { type: 'expired', phase: world.participants.get(host)!.phase }); message.run(); break
    case 'forwarded': world.take(host, { type: 'forwarded', why: 'held too long' }); message.run(); break
    case 'no-room': world.take(host, { type: 'no-room', why: 'the disk is full' }); message.run(); break
  }
}

function check(world: World, story: string): void {
  assert.ok(isOver(world.coordinator), `${story}: the coordinator is ${world.coordinator.phase}`)
  const phases = hosts.map((h) => (world.participants.get(h) as ParticipantState).phase)
  if (world.outcome === 'commit') {
    assert.equal(world.sealed.size, 2, `${story}: committed and not sealed everywhere`)
    assert.ok(phases.every((p) => p === 'done' || p === 'sealed'), `${story}: committed with ${phases.join()}`)
  } else {
    assert.ok(phases.every((p) => ['void', 'none'].includes(p)), `${story}: aborted with ${phases.join()}`)
  }
}

describe('a cut of two hosts, in every order of their messages around a fault', function () {
  this.timeout(60_000)
  for (const fault of faults) {
    it(`ends, all or nothing, with fault "${fault}" at every point`, () => {
      let committed = 0
      let runs = 0
      for (let at = 0; at < steps; at++) {
        runs += everyChoice((choose) => {
          const world = live(choose, fault, at)
          check(world, `${fault} at ${at}`)
          if (world.outcome === 'commit') committed++
        }, 200_000)
      }
      assert.ok(runs >= 1_000 && committed > 0, `${runs} runs, ${committed} committed`)
    })
  }
})
