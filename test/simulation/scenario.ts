// Scenarios: what people do and what fails when, in lines of text, one file for each hole of the protocol that can be shown so and for
// each bug that was found. After its last line all faults end, and what every simulation asks is asked (simulation.ts).
//
//   vms 3                                  two, where nothing is said
//   on "cut cutting -> saved" fault agent  once, when a line of the log has this text; also: dies, kill
//   on "operation begins" after 12 kill worker   so many ms later
//   kill switch h1                         a process dies now; also: kill the newest vm
//   dies agent.sealed                      a process dies when it comes to that point; `dies agent.sealed switch h1`: that one dies then
//   stands agent.cut.gated for 9000        a process stands still (SIGSTOP) when it comes to that point, for so many ms
//   begin snapshot s-1                     kinds as in slices/operation.ts; `as policy`: on the policy's behalf; `first`: whoever holds the slice
//   ended done                             waits for what was begun last, and it has ended so
//   fault full-disk for 300                begins a fault (faults.ts); without `for` it lasts to the end of the scenario
//   rest 500                               ms
//   until "switch h1 is up"                waits for a line with this text
//   seen "outcome of s-1: abort"           a line of the log has had this text; `not seen`: none has
import { keepBusy } from './world/machine.js'
import { begin, standStill } from './faults.js'
import { simulateLife, type Finding } from './simulation.js'
import type { Site } from './world/site.js'
import type { User } from './user.js'
import type { Operation, OperationKind } from '../../slices/operation.js'

const safetyMs = 1_000_000

/** With another seed everything that is left to chance happens otherwise. */
export function runScenario(text: string, { seed = 1, tell }: { seed?: number; tell?: ((line: string) => void) | undefined } = {}): Promise<Finding> {
  const lines = text.split('\n').map((l) => l.trim()).filter((l) => l !== '' && !l.startsWith('#'))
  const vms = Number(lines.find((l) => l.startsWith('vms '))?.slice(4) ?? 2)
  return simulateLife({ seed, tell, safetyMs, vms }, (site, user) => play(lines.filter((l) => !l.startsWith('vms ')), site, user))
}

async function play(lines: string[], site: Site, user: User): Promise<void> {
  const { w } = site
  const seen: string[] = []
  const waiting: { text: string; act: string }[] = []
  w.onLine = (line) => {
    seen.push(line)
    for (const one of waiting.filter(({ text }) => line.includes(text))) {
      waiting.splice(waiting.indexOf(one), 1)
      const [, ms, act] = /^(?:after (\d+) )?(.*)$/.exec(one.act)!
      w.after(Number(ms ?? 0), undefined, () => now(act!, site))
    }
  }
  let last: Operation | undefined
  for (const line of lines) {
    keepBusy(800)
    const [, verb, rest] = /^(\S+)\s*(.*)$/.exec(line)!
    const [, quoted, after] = /"([^"]*)"\s*(.*)$/.exec(line) ?? []
    if (verb === 'on') waiting.push({ text: quoted!, act: after! })
    else if (verb === 'begin') {
      const [kind, snapshot, as] = rest!.split(' ')
      const how = as === 'as' ? { who: 'policy' } : as === 'first' ? { preempts: true } : {}
      last = await user.begin(kind as OperationKind, snapshot === undefined ? {} : { snapshot }, how)
      if (!last) w.violate(`the scenario: ${line} was refused`)
    } else if (verb === 'ended') {
      const ended = last && await user.ended(last, 300_000)
      if (ended?.state !== rest) w.violate(`the scenario: ${last?.kind ?? 'nothing'} ended as ${ended?.state ?? 'never'} and not as ${rest}: ${ended?.error ?? ''}`)
    } else if (verb === 'until') {
      for (const from = seen.length; !seen.slice(from).some((l) => l.includes(quoted!));) await user.sleep(1)
    } else if (verb === 'rest') await user.sleep(Number(rest))
    else if (verb === 'seen' || verb === 'not') {
      if (seen.some((l) => l.includes(quoted!)) !== (verb === 'seen')) w.violate(`the scenario: ${line}`)
    } else now(line, site)
  }
}

function now(line: string, site: Site): void {
  const [verb, name, , ms] = line.split(' ')
  if (verb === 'fault') begin(site, name!, ms === undefined ? undefined : Number(ms))
  else if (line === 'kill the newest vm') [...site.machines].at(-1)?.kill('its process was killed')
  else if (verb === 'kill') site.kill(line.slice('kill '.length))
  else if (verb === 'dies') site.w.deathAt = { points: [name!], proc: line.slice(`dies ${name!} `.length) }
  else if (verb === 'stands') site.w.deathAt = { points: [name!], proc: '', act: (proc) => standStill(site, proc, Number(ms)) }
  else throw new Error(`a scenario does not know: ${line}`)
}
