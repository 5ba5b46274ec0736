// The log of the product, as lines of the world: one for each change of state.
import type { Log } from '../../../base/log.js'
import { world, type Proc } from './world.js'

const shown = ['op', 'slice', 'vm', 'k', 'run', 'condition', 'reason', 'outcome', 'why', 'end', 'error', 'host', 'kind', 'id']

/** How the product says that something ended as it should not: these are counted. */
export function simLog(proc: Proc): Log {
  const write = (level: string) => (what: unknown, message?: string) => {
    const w = world()
    if (!proc.alive) return
    const fields = typeof what === 'object' && what !== null ? what as Record<string, unknown> : {}
    const text = typeof what === 'string' ? what : message ?? ''
    const error = fields['err'] instanceof Error ? ` err=${fields['err'].message}` : ''
    const more = shown.filter((name) => fields[name] !== undefined && fields[name] !== '').map((name) => ` ${name}=${short(fields[name])}`).join('')
    w.line(`${proc.name}${level} ${text}${more}${error}`)
    const failing = (fields['err'] as { code?: unknown } | undefined)?.code // of the disk: no bug
    if (text === 'request failed by a bug' && failing === undefined) w.violate(`no bug: ${String(fields['method'])}:${error}${fields['err'] instanceof Error ? ` ${fields['err'].stack ?? ''}` : ''}`)
    const why = fields['why']
    if (text.startsWith('cut ') && text.endsWith('voiding') && typeof why === 'string') w.probe(`void: ${plain(why)}`)
    if (typeof why === 'string' && why.includes('do not add up')) w.violate(`the sums hold in every cut: ${why}`)
    if (/^snapshot .* -> telling$/.test(text)) w.probe(typeof why === 'string' ? `abort: ${plain(why)}` : 'commit')
  }
  const log = { info: write(''), warn: write(' (warn)'), error: write(' (error)'), debug: () => undefined, trace: () => undefined, child: () => log }
  return log as unknown as Log
}

const short = (value: unknown): string => String(value).slice(0, 200)

/** Sentences with their names and numbers left out, so that they can be counted. */
const plain = (why: string): string => why.replace(/v-[a-z]|\b[abcd]\b|h\d|\d+(\.\d+)?|[0-9a-f]{8,}/g, '·').replace(/: .*$/, '').slice(0, 70)
