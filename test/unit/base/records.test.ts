import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, Refusal } from '../../../base/errors.js'
import { parseRecord, readableOr, readRecord, type Form } from '../../../base/records.js'
import { useTempFolder } from '../../temp.js'

interface Sample { format?: 1; name: string }
const form: Form<Sample> = { format: 1, is: ({ name }) => name.length > 0 }
const damaged = (message: RegExp) => (e: unknown) => e instanceof Failure && e.code === 'damaged' && message.test(e.message)

describe('a record', () => {
  const folder = useTempFolder()

  it('that is there is given, one that is not is none, and one that cannot be read is neither', async () => {
    const path = join(folder(), 'a.json')
    assert.equal(await readRecord(path, form), undefined)
    writeFileSync(path, '{"format":1,"name":"x","more":2}')
    assert.deepEqual(await readRecord(path, form), { format: 1, name: 'x', more: 2 })
    mkdirSync(join(folder(), 'b.json'))
    await assert.rejects(readRecord(join(folder(), 'b.json'), form), damaged(/b\.json cannot be read/))
  })

  it('of another format is refused with the record, the format found and the one understood', () => {
    const refused = (text: string) => { try { parseRecord(text, 'the record of x', form); return '' } catch (error) { return (error as Error).message } }
    assert.equal(refused('{"format":2,"name":"x"}'), 'the record of x has format 2, this program understands 1: use the program that wrote it, or a newer one')
    assert.match(refused('{"format":"1","name":"x"}'), /has format "1"/)
    assert.match(refused('{"name":"x"}'), /has no format/)
    for (const text of ['', '{"format":1', 'null', '7', '"x"']) assert.match(refused(text), /^the record of x is damaged/, text)
    assert.match(refused('{"format":1}'), /parts of it are missing/)
    assert.match(refused('{"format":1,"name":""}'), /parts of it are missing/)
  })

  it('of a kind that had no format once may be without one, and not with another', () => {
    const older: Form<Sample> = { ...form, unmarked: 'allowed' }
    assert.deepEqual(parseRecord('{"name":"x"}', 'it', older), { name: 'x' })
    assert.throws(() => parseRecord('{"format":2,"name":"x"}', 'it', older), damaged(/format 2/))
  })

  it('that is damaged among many costs only itself; any other error is not hidden', async () => {
    const told: string[] = []
    const tell = (why: string) => { told.push(why) }
    assert.equal(await readableOr(async () => parseRecord('', 'it', form), tell), undefined)
    assert.match(told.join(), /^it is damaged: it is no JSON: /)
    await assert.rejects(readableOr(async () => { throw new Refusal('busy', 'no') }, tell), /no/)
    await assert.rejects(readableOr(async () => { throw new Failure('host-lost', 'gone') }, tell), /gone/)
  })
})
