// The verdict over a run of a foreign workload, and its table. Pure.
import { distribution } from '../../bench/distribution.js'
import { judged as judgedTcp, tcpNames } from './figures.js'
import type { CoursePlan, Outcome } from './course.js'

export interface Verdict { ok: boolean; reasons: string[]; table: string[] }

/** What must not be more than in the control, is not; everything was done that was planned; the software found nothing wrong. */
export function judge(outcome: Outcome, plan: CoursePlan, judgedOwn: readonly string[]): Verdict {
  const judged = new Set<string>([...judgedTcp, ...judgedOwn])
  const reasons = [...outcome.findings]
  const { course, control, around } = outcome
  const more = (name: string) => (course.figures[name] ?? 0) > (control.figures[name] ?? 0)
  for (const name of judged) if (more(name)) reasons.push(`${name}: ${course.figures[name]} with snapshots, ${control.figures[name] ?? 0} in the control`)
  if (outcome.snapshots.length < plan.snapshots) reasons.push(`${outcome.snapshots.length} of ${plan.snapshots} snapshots were committed: ${outcome.aborted.join('; ')}`)
  if (outcome.rollbacks < plan.rollbacks) reasons.push(`${outcome.rollbacks} of ${plan.rollbacks} rollbacks were done`)
  if (outcome.suspends < plan.suspends) reasons.push(`${outcome.suspends} of ${plan.suspends} suspensions were done`)
  const names = [...tcpNames, ...Object.keys(course.figures).filter((name) => !tcpNames.includes(name))]
  const table = [
    `| | with ${outcome.snapshots.length} snapshots, ${outcome.rollbacks} rollbacks, ${outcome.suspends} suspensions | of it around snapshots | around restores | control | |`,
    '| --- | --- | --- | --- | --- | --- |', `| seconds running | ${course.seconds} | | | ${control.seconds} | |`,
    ...names.map((name) => `| ${name} | ${course.figures[name] ?? 0} | ${around.snapshots[name] ?? 0} | ${around.restores[name] ?? 0} | ${control.figures[name] ?? 0} | ${judged.has(name) ? (more(name) ? '**more**' : 'ok') : 'told'} |`),
  ]
  const { median, p90, max, n } = distribution(outcome.snapshots.flatMap((s) => s.pausesMs))
  if (n > 0) table.push(`| pause, ms: median, p90, max of ${n} | ${median}, ${p90}, ${max} | | | | told |`)
  return { ok: reasons.length === 0, reasons, table }
}
