import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Failure } from '../../../base/errors.js'
import { silentLog } from '../../../base/log.js'
import { realClock as clock } from '../../../base/time.js'
import { Layers } from '../../../hosts/layers.js'
import { RestoreHost } from '../../../hosts/restore-host.js'
import { SliceMarks } from '../../../hosts/slice-marks.js'
import type { SwitchLink } from '../../../hosts/switch-link.js'
import type { VmRegistry } from '../../../hosts/vm-registry.js'
import type { RestoreOrder } from '../../../snapshots/messages.js'
import { MemoryHypervisor } from '../../fakes/memory-hypervisor.js'
import { useTempFolder } from '../../temp.js'

const slice = '5f0c0d5e-0000-4000-8000-0000000000c1'
const orderOf = (op: string): RestoreOrder => ({
  slice, op, token: 1, run: '0000000200000000', epoch: 3, snapshot: 's-1', vms: [{ vm: 'a' }], channels: { name: 'c', bytes: 0, digest: '' }, ports: [],
} as unknown as RestoreOrder)

describe('the restores of a host', () => {
  const folder = useTempFolder()

  async function host(log = silentLog) {
    const asked: string[] = []
    const switchLink = { whenBack: async () => undefined, ask: async (method: string) => { asked.push(method); return null } } as unknown as SwitchLink
    const marks = new SliceMarks(join(folder(), 'slices'))
    const hypervisor = new MemoryHypervisor()
    const layers = new Layers(join(folder(), 'layers'), hypervisor)
    const registry = { refuseUnreadable: () => undefined, runningOf: () => [] as unknown[] } as unknown as VmRegistry
    await marks.open()
    await layers.open()
    for (const f of ['restores', `store/${slice}/restores`]) mkdirSync(join(folder(), f), { recursive: true })
    const restores = new RestoreHost(join(folder(), 'restores'), {
      host: 'h1', store: join(folder(), 'store'), registry, layers, switchLink, hypervisor, marks, clock, log,
    })
    const journal = (op: string, text = JSON.stringify({ format: 1, order: orderOf(op), instances: [] })) => {
      writeFileSync(join(folder(), 'restores', `${op}.json`), text)
      writeFileSync(join(folder(), 'layers', `a.${op}.qcow2`), '')
    }
    const outcome = (op: string) => join(folder(), 'store', slice, 'restores', `${op}.outcome`)
    return { restores, registry, asked, journal, outcome }
  }

  it('of which journal or outcome cannot be read are left alone with their layers, and the others are ended', async () => {
    const { restores, journal, outcome } = await host()
    journal('later', '{"format":2}')
    journal('odd')
    writeFileSync(outcome('odd'), '{"format":2,"outcome":"commit"}')
    journal('well')
    await restores.recover()
    assert.deepEqual(restores.layersInUse().map((l) => basename(l)).sort(), ['a.later.qcow2', 'a.odd.qcow2'])
    assert.equal(readFileSync(join(folder(), 'restores', 'later.json'), 'utf8'), '{"format":2}')
    assert.ok(existsSync(join(folder(), 'restores', 'odd.json')))
    assert.ok(!existsSync(join(folder(), 'restores', 'well.json')))
    assert.match(readFileSync(outcome('well'), 'utf8'), /"abort"/)
    writeFileSync(join(folder(), 'restores', 'gone.json.went'), '{"format":2}')
    await assert.rejects(restores.go({ ...orderOf('gone') }), /gone\.json\.went has format 2/)
  })

  it('are found in the log by their operation', async () => {
    const lines: string[] = []
    const { restores, journal } = await host(Object.assign(Object.create(silentLog) as typeof silentLog, {
      info: (fields: { op?: string }, line: string) => { lines.push(`${fields.op ?? ''}: ${line}`) },
    }))
    journal('rollback-1')
    await restores.recover()
    assert.deepEqual(lines, ['rollback-1: restore given up'])
    await assert.rejects(restores.prepare(orderOf('rollback-2')))
    assert.deepEqual(lines.slice(1), ['rollback-2: restore cannot be prepared', 'rollback-2: restore given up'])
  })

  it('of a VM whose record cannot be read are refused before anything is made', async () => {
    const { restores, registry, asked } = await host()
    registry.refuseUnreadable = () => { throw new Failure('damaged', 'nothing is done with the VM a') }
    await assert.rejects(restores.prepare(orderOf('rollback-1')), /nothing is done with the VM a/)
    assert.deepEqual(asked, [])
  })
})
