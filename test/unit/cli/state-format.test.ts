import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bringUpToDate, stateFormat, type Migration } from '../../../cli/up/format.js'
import { layoutOf } from '../../../cli/up/layout.js'
import { useTempFolder } from '../../temp.js'

describe('the format of a state folder', () => {
  const folder = useTempFolder()
  const stamped = () => JSON.parse(readFileSync(join(folder(), 'format'), 'utf8')) as object
  const put = (path: string, text: string) => {
    mkdirSync(join(folder(), path, '..'), { recursive: true })
    writeFileSync(join(folder(), path), text)
  }
  const said: string[] = []
  const start = (software = '0.1.0', ways?: { current: number; migrations: Migration[] }) =>
    bringUpToDate(layoutOf(folder()), software, (line) => said.push(line), ways)
  beforeEach(() => { said.length = 0 })

  it('is written at the first start, kept after that, and names the last program that has used it', async () => {
    for (const empty of ['redis', 'snapshots', 'host', 'switch', 'log']) mkdirSync(join(folder(), empty)) // of a start that died early
    await start()
    assert.deepEqual(stamped(), { format: stateFormat, software: '0.1.0' })
    await start('0.2.0')
    assert.deepEqual(stamped(), { format: stateFormat, software: '0.2.0' })
    assert.deepEqual(said, [])
  })

  it('that is newer is refused with both versions and the way out, and nothing is changed', async () => {
    put('format', '{"format":2,"software":"3.0.0"}')
    await assert.rejects(start(), { code: 'unsupported', message: /has format 2 \(geni-violin 3\.0\.0 has used it\), this program \(0\.1\.0\) understands 1: .*newer one, or .*--state/ })
    assert.equal(readFileSync(join(folder(), 'format'), 'utf8'), '{"format":2,"software":"3.0.0"}')
  })

  it('that cannot be read is never taken for none', async () => {
    for (const text of ['', 'x', 'null', '{"format":"1","software":"x"}', '{"format":1}', '{"format":-1,"software":"x"}']) {
      put('format', text)
      await assert.rejects(start(), { code: 'damaged', message: /format cannot be read, .*put it back from a copy/ })
      assert.equal(readFileSync(join(folder(), 'format'), 'utf8'), text)
    }
  })

  it('made before there was this file is stamped once all of it can be read', async () => {
    put('host/vms/v-1.json', '{"format":1,"spec":{"vm":"v-1","slice":"s","nics":[]},"condition":"stopped","reason":"","layers":[],"instance":null}')
    put('host/cuts/snapshot-1.json', '{"phase":"done","reports":{},"why":""}')
    put('host/slices/s.json', '{"format":1,"run":"0","k":1,"token":2,"current":"0","switchBoots":1}')
    put('snapshots/s/snap-1/outcome', '{"format":1,"outcome":"commit","why":""}')
    put('snapshots/s/restores/rollback-1.outcome', '{"format":1,"outcome":"abort","why":""}')
    await start()
    assert.deepEqual(stamped(), { format: 1, software: '0.1.0' })
    assert.match(said.join(), /from format 0 to 1/)
  })

  for (const [path, text] of [
    ['host/vms/v-1.json', '{"format":2}'], ['host/slices/s.json', '{"format":1}'], ['host/cuts/c.json', '{'], ['host/restores/r.json', '{"format":3}'],
    ['host/restores/r.json.went', '[]'], ['host/layers/v.m-1.qcow2.replaces', '{"format":2}'], ['switch/s.0.json', '{"format":2,"k":1}'], ['snapshots/s/snap-1/outcome', ''],
    ['snapshots/s/snap-1/inventory.json', '{"format":"violin-inventory-2"}'], ['snapshots/s/restores/r.outcome', '{"format":2}'],
    ['federation/federation.json', '{"format":2}'],
  ] as const) {
    it(`made before there was this file is refused where ${path} cannot be read, and not stamped`, async () => {
      put(path, text)
      await assert.rejects(start(), (error: Error) => error.message.includes(path) && /Nothing was started or changed/.test(error.message))
      assert.ok(!existsSync(join(folder(), 'format')))
    })
  }

  it('comes up by one migration after the other, and one that dies half way is run again, and no earlier one', async () => {
    const ran: string[] = []
    let dies = true
    const migration = (from: number, work: () => void = () => undefined): Migration => ({ from, to: from + 1, what: `step ${from}`, run: async () => { ran.push(`${from}`); work() } })
    const ways = { current: 4, migrations: [migration(3), migration(1), migration(2, () => { if (dies) throw new Error('power') })] }
    put('format', '{"format":1,"software":"0.1.0"}')
    await assert.rejects(start('0.4.0', ways), /power/)
    assert.deepEqual(stamped(), { format: 2, software: '0.4.0' })
    dies = false
    await start('0.4.0', ways)
    assert.deepEqual([ran, stamped()], [['1', '2', '2', '3'], { format: 4, software: '0.4.0' }])
  })

  it('from which there is no way is refused', async () => {
    put('format', '{"format":1,"software":"0.1.0"}')
    await assert.rejects(start('9.0.0', { current: 9, migrations: [] }), /no way from format 1/)
  })
})
