import assert from 'node:assert/strict'
import { pino } from 'pino'
import { operationRunner } from '../../../jobs/slice-jobs.js'
import { worker } from './worker.js'

describe('the log of a call', () => {
  it('is found by its id in what AM and worker say, and from there its operation', async () => {
    const w = await worker()
    const lines: Record<string, unknown>[] = []
    w.parts.log = pino({ level: 'info' }, { write: (text: string) => { lines.push(JSON.parse(text) as Record<string, unknown>) } })
    const run = operationRunner(w.parts)
    const slice = await w.slice()
    const { id } = await w.begin(slice, 'stop', { callId: 'c0ffee' }, 'geni_stopping')
    await run(id)
    w.hosts.failing.set('startVm', 'there is no memory')
    const second = await w.begin(slice, 'start', { callId: 'decade' }, 'geni_configuring')
    await run(second.id)
    const of = (call: string) => lines.filter((line) => JSON.stringify(line).includes(call)).map((line) => [line['op'], line['msg']])
    assert.deepEqual(of('c0ffee'), [[id, 'operation begun'], [id, 'operation begins'], [id, 'operation ended']])
    assert.deepEqual(of('decade'), [[second.id, 'operation begun'], [second.id, 'operation begins'], [second.id, 'operation ended']])
    assert.match(lines.at(-1)!['error'] as string, /there is no memory/)
  })
})
