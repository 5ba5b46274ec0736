import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { XmlDocument, XmlElement, XsdValidator } from 'libxml2-wasm'
import { writeAdvertisement } from '../../../rspec/advertisement.js'
import { actions, opstateNs, rspecNs, violinNs } from '../../../rspec/names.js'

const namespaces = { r: rspecNs, o: opstateNs, v: violinNs }
const xml = writeAdvertisement({
  componentManager: 'urn:publicid:IDN+am.example.org+authority+am', authority: 'am.example.org', images: ['standard', 'gr\u00fcn&"'],
  defaultImage: 'standard', generated: '2026-11-24T14:00:00Z',
  sliceVms: 40, sliceSnapshotsBytes: 5e11,
  hosts: [1, 2].map((n) => ({ name: `host${n}`, componentId: `urn:publicid:IDN+am.example.org+node+host${n}`, available: n === 1 })),
})

describe('the advertisement', () => {
  let document: XmlDocument
  const at = (xpath: string) => document.find(xpath, namespaces).map((node) => node.content)
  before(() => { document = XmlDocument.fromString(xml) })
  after(() => document.dispose())

  it('is ASCII, of type advertisement, and names its schema', () => {
    assert.match(xml, /^[\n\x20-\x7e]+$/)
    assert.deepEqual(at('/r:rspec/@type'), ['advertisement'])
    assert.match(xml, /schemaLocation="http:\/\/www.geni.net\/resources\/rspec\/3 http:\/\/www.geni.net\/resources\/rspec\/3\/ad.xsd/)
  })

  it('says of every host whether it is available, and what it offers', () => {
    assert.deepEqual(at('//r:node/r:available/@now'), ['true', 'false'])
    assert.deepEqual(at('//r:node[1]/r:sliver_type/@name'), ['violin-vm', 'default-vm'])
    assert.deepEqual(at('//r:node[1]/r:sliver_type[1]/r:disk_image/@name'),
      ['urn:publicid:IDN+am.example.org+image+standard', 'urn:publicid:IDN+am.example.org+image+gr\u00fcn&"'])
    assert.deepEqual(at('//r:node[1]/r:sliver_type[1]/r:disk_image/@default'), ['true'])
  })

  it('names only states that it describes, and each of our actions', () => {
    const states = at('//o:state/@name')
    for (const next of at('//o:*/@next | //o:rspec_opstate/@start')) assert.ok(states.includes(next), next)
    for (const state of states) assert.match(state, /^[a-zA-Z0-9][a-zA-Z0-9_]*$/)
    for (const action of actions) assert.ok(at('//o:action/@name').includes(action), action)
  })

  it('states our capabilities as our schema wants them, with the shortest interval', () => {
    assert.deepEqual(at('//v:limits/@min_interval'), ['PT5S'])
    assert.deepEqual(at('//v:limits/@max_nodes | //v:storage_target/@quota_bytes'), ['500000000000', '40'])
    const schema = XmlDocument.fromString(readFileSync(new URL('../../../rspec/schema/checkpoint-1.xsd', import.meta.url), 'utf8'))
    const validator = XsdValidator.fromDoc(schema)
    const element = document.get('//v:rspec_checkpoint_capability', namespaces)
    assert.ok(element instanceof XmlElement)
    const alone = XmlDocument.fromString(element.canonicalizeToString())
    validator.validate(alone)
    for (const one of [alone, validator, schema]) one.dispose()
  })

  it('without hosts is still a whole document', () => {
    const empty = writeAdvertisement({ componentManager: 'x', authority: 'x', hosts: [], images: [], defaultImage: '', generated: '' })
    XmlDocument.fromString(empty).dispose()
  })
})
