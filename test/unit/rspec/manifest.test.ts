import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { XmlDocument, XmlElement, XsdValidator } from 'libxml2-wasm'
import { rspecNs, userNs, violinNs, xsiNs } from '../../../rspec/names.js'
import { writeManifest, type ManifestNode, type ManifestOptions } from '../../../rspec/manifest.js'
import { parsePolicy, policyXml } from '../../../rspec/checkpoint.js'
import { parseRequest } from '../../../rspec/request.js'

const root = new URL('../../../', import.meta.url)
const file = (path: string) => readFileSync(new URL(path, root), 'utf8')
const componentManager = 'urn:publicid:IDN+am.example.org+authority+am'
const expires = '2026-12-01T00:00:00Z'
const namespaces = { r: rspecNs, v: violinNs, u: userNs, x: xsiNs, j: 'http://jfed.iminds.be/rspec/ext/jfed/1', q: 'urn:q' }

const sliver = (clientId: string, interfaces: ManifestNode['interfaces'] = []): ManifestNode => ({
  clientId, sliverUrn: `urn:publicid:IDN+am.example.org+sliver+${clientId}1`, componentId: 'urn:publicid:IDN+am.example.org+node+host1',
  hostName: `${clientId}.slice.am.example.org`, interfaces,
  login: { host: '192.0.2.7', port: 2200, users: [{ urn: 'urn:publicid:IDN+test+user+alice', name: 'alice', keys: ['ssh-ed25519 AAAA alice@x'] }] },
})
const manifest = (more: Partial<ManifestOptions>) => writeManifest({ requests: [], componentManager, expires, nodes: [], ...more })

describe('a manifest', () => {
  const open: XmlDocument[] = []
  const read = (xml: string) => {
    assert.match(xml, /^<\?xml version="1.0"\?>\n<rspec [\t\n\x20-\x7e]+$/)
    const document = XmlDocument.fromString(xml)
    open.push(document)
    return (xpath: string) => document.find(xpath, namespaces).map((node) => node.content)
  }
  afterEach(() => { for (const document of open.splice(0)) document.dispose() })

  it('without slivers is a whole document of more than 30 characters', () => {
    const xml = manifest({})
    const at = read(xml)
    assert.ok(xml.length > 30)
    assert.deepEqual(at('/r:rspec/@type'), ['manifest'])
    assert.deepEqual(at('/r:rspec/@expires'), [expires])
    assert.match(at('/r:rspec/@x:schemaLocation')[0]!, /http:\/\/www.geni.net\/resources\/rspec\/3\/manifest.xsd/)
    assert.deepEqual(at('/r:rspec/*'), [])
  })

  it('says of each node its sliver, its host, its addresses and how to log in', () => {
    const nodes = ['a', 'b', 'c'].map((name, i) =>
      sliver(name, [{ clientId: `${name}:if0`, mac: `02:00:00:00:00:0${i}`, ip: `10.1.1.${i + 1}`, prefixLength: 24 }]))
    const at = read(manifest({ requests: [file('examples/three-nodes.rspec')], nodes }))
    assert.deepEqual(at('//r:node/@client_id'), ['a', 'b', 'c'])
    assert.deepEqual(at('//r:node/@sliver_id'), nodes.map((node) => node.sliverUrn))
    assert.deepEqual(at('//r:node/@component_manager_id'), [componentManager, componentManager, componentManager])
    assert.deepEqual(at('//r:node[1]/@component_id'), ['urn:publicid:IDN+am.example.org+node+host1'])
    assert.deepEqual(at('//r:node[1]/r:host/@*'), ['a.slice.am.example.org', '192.0.2.7'])
    assert.deepEqual(at('//r:node[2]/r:interface/@mac_address'), ['02:00:00:00:00:01'])
    assert.deepEqual(at('//r:node[2]/r:interface/r:ip/@*'), ['10.1.1.2', '255.255.255.0', 'ipv4'])
    assert.deepEqual(at('//r:node[3]/r:services/r:login/@*'), ['ssh-keys', '192.0.2.7', '2200', 'alice'])
    assert.deepEqual(at('//r:node[3]/r:services/u:services_user/@*'), ['alice', 'urn:publicid:IDN+test+user+alice'])
    assert.deepEqual(at('//r:node[3]/r:services/u:services_user/u:public_key'), ['ssh-ed25519 AAAA alice@x'])
    assert.deepEqual(at('//r:node[3]/r:services/r:execute/@command'), ['bank start'])
    assert.equal(at('//r:link/r:interface_ref').length, 3)
  })

  it('of slivers that are only allocated has no login', () => {
    const { login: _, ...node } = sliver('only')
    const at = read(manifest({ requests: [file('test/fixtures/rspec/good/one-node.rspec')], nodes: [node] }))
    assert.deepEqual(at('//r:login'), [])
    assert.deepEqual(at('//r:host/@name'), ['only.slice.am.example.org'])
  })

  it('keeps extensions, foreign nodes and links, comments, CDATA text and namespaces as they were', () => {
    const request = file('test/fixtures/rspec/good/extensions.rspec')
    const at = read(manifest({ requests: [request], nodes: [sliver('b')] }))
    assert.deepEqual(at('//r:node/@client_id'), ['a', 'theirs', 'b'])
    assert.deepEqual(at('//r:node[@client_id="a"]/@sliver_id'), []) // unbound, and the request names another manager: not ours
    assert.deepEqual(at('//r:node[1]/@j:colour'), ['gr\u00fcn'])
    assert.deepEqual(at('//r:node[1]/j:location/@*'), ['10.0', '20.0'])
    assert.deepEqual(at('//r:node[1]/r:services/q:note'), ['<!DOCTYPE html> \u00e9 & so on'])
    assert.deepEqual(at('//r:execute/@command'), ['echo \'<&"\' > /tmp/x'])
    assert.deepEqual(at('/r:rspec/comment()'), [' a note '])
    assert.deepEqual(at('/r:rspec/processing-instruction("tool")'), ['keep="me"'])
    assert.deepEqual(at('/r:rspec/@j:version'), ['5'])
    assert.deepEqual(at('/r:rspec/@generated'), [])
    assert.match(at('/r:rspec/@x:schemaLocation')[0]!, /manifest\.xsd .*urn:q http:\/\/q\/q\.xsd/)
    assert.deepEqual(at('//r:link/@client_id'), ['far'])
  })

  it('has a prefixed request under the default namespace, and elements without namespace still without', () => {
    const at = read(manifest({ requests: [file('test/fixtures/rspec/good/prefixed.rspec')], nodes: [sliver('a'), sliver('b')] }))
    assert.deepEqual(at('//r:node/r:host/@name'), ['a.slice.am.example.org', 'b.slice.am.example.org'])
    assert.equal(at('/r:rspec/bare').length, 1)
  })

  it('of several requests holds all their nodes and one policy, the last', () => {
    const policy = file('test/fixtures/rspec/good/policy.rspec')
    const again = file('test/fixtures/rspec/good/manifest-used-again.rspec')
    const one = file('test/fixtures/rspec/good/one-node.rspec')
    const nodes = ['a', 'b', 'only'].map((name) => sliver(name))
    const at = read(manifest({ requests: [policy, one], nodes }))
    assert.deepEqual(at('//r:node/@client_id'), ['a', 'b', 'only'])
    assert.deepEqual(read(manifest({ requests: [policy, again], nodes: [] }))('//v:rspec_checkpoint/@interval'), ['PT15M'])
  })

  it('restricted to some slivers has neither the other nodes nor links among them', () => {
    const request = file('test/fixtures/rspec/good/some-addresses.rspec')
    const at = read(manifest({ requests: [request], nodes: [sliver('c')] }))
    assert.deepEqual(at('//r:node/@client_id'), ['c'])
    assert.deepEqual(at('//r:link/@client_id'), ['two'])
  })

  it('shows the policy in force, why it differs, and the snapshots; what an old manifest said of them goes', () => {
    const nodes = [sliver('a'), sliver('b')]
    const request = file('test/fixtures/rspec/good/policy.rspec')
    const { policy } = parseRequest(request, { componentManager, images: [], defaultImage: 'standard' })
    const snapshots = [{
      id: 's1', name: 'first', parent: '', created: expires, origin: 'user', bytes: 5,
      members: [{ clientId: 'a', sliverUrn: nodes[0]!.sliverUrn, pauseMs: 7.2 }],
    }]
    const at = read(manifest({ requests: [request], nodes, policy: { applied: policy!, next: expires }, snapshots }))
    assert.deepEqual(at('//v:rspec_checkpoint/@interval'), ['PT1S'])
    assert.deepEqual(at('//v:effective/@interval'), ['PT5S'])
    assert.deepEqual(at('//v:effective/@next'), [expires])
    assert.deepEqual(at('//v:effective/v:retention/@keep'), ['32'])
    assert.equal(at('//v:effective/v:note').length, 2)
    assert.deepEqual(at('//v:snapshot/v:member/@pause_ms'), ['8'])
    const bounded = { keep: 3, maxAgeMs: 3_600_000, maxBytes: 5e12 }
    const kept = read(manifest({ requests: [request], nodes, policy: { applied: bounded } }))
    assert.deepEqual(kept('//v:effective/v:retention/@max_age | //v:effective/v:retention/@max_bytes'), ['PT1H', '5000000000000'])
    assert.deepEqual(parsePolicy(policyXml(bounded)), bounded)
    const old = read(manifest({ requests: [file('test/fixtures/rspec/good/manifest-used-again.rspec')], nodes: [sliver('a')] }))
    assert.deepEqual(old('//v:effective | //v:snapshot'), [])
    assert.deepEqual(old('//r:login/@username'), ['alice'])
    assert.deepEqual(old('//r:host/@name'), ['a.slice.am.example.org'])
    const unasked = read(manifest({ requests: [file('test/fixtures/rspec/good/one-node.rspec')], nodes: [sliver('only')], snapshots }))
    assert.deepEqual(unasked('/r:rspec/v:rspec_checkpoint/v:snapshot/@id'), ['s1'])
  })

  it('carries the watchdogs of its VMs through', () => {
    const request = file('test/fixtures/rspec/good/watchdog.rspec')
    const once = manifest({ requests: [request], nodes: ['a', 'b', 'c', 'd'].map((name) => sliver(name)) })
    assert.deepEqual(read(once)('//v:vm/@watchdog'), ['PT30S', 'PT5S', 'PT60M'])
    const again = parseRequest(once.replace('type="manifest"', 'type="request"'), { componentManager, images: [], defaultImage: 'standard' })
    assert.deepEqual(again.nodes.map((node) => node.watchdogMs), [30_000, 5_000, 3_600_000, undefined])
  })

  it('made into a request again is read as one', () => {
    const nodes = ['a', 'b', 'c'].map((name) => sliver(name))
    const request = file('examples/three-nodes.rspec')
    const once = manifest({ requests: [request], nodes, policy: { applied: { keep: 8, intervalMs: 10_000 } } })
    const again = once.replace('type="manifest"', 'type="request"')
    const parsed = parseRequest(again, { componentManager, images: [], defaultImage: 'standard' })
    assert.deepEqual({ ...parsed, nodes: parsed.nodes.map(({ componentId: _, ...node }) => node) },
      parseRequest(request, { componentManager, images: [], defaultImage: 'standard' }))
  })

  it('and the requests fit our schema wherever they use our namespace', () => {
    const schema = XmlDocument.fromString(file('rspec/schema/checkpoint-1.xsd'))
    const validator = XsdValidator.fromDoc(schema)
    const good = readdirSync(new URL('test/fixtures/rspec/good/', root)).map((name) => `test/fixtures/rspec/good/${name}`)
    const snapshots = [{ id: 's1', name: '', parent: 's0', created: expires, origin: 'policy', bytes: 5, members: [{ clientId: 'a', sliverUrn: 'urn:x' }] }]
    const documents = [...good, 'examples/two-nodes.rspec', 'examples/three-nodes.rspec'].map(file)
    documents.push(manifest({ requests: [documents.at(-1)!], nodes: [sliver('a')], policy: { applied: { keep: 8, intervalMs: 10_000 } }, snapshots }))
    let checked = 0
    for (const xml of documents) {
      const document = XmlDocument.fromString(xml)
      open.push(document)
      const outermost = document.find('//v:*[not(ancestor::v:*)]', namespaces).filter((node) => node instanceof XmlElement)
      for (const element of outermost) {
        const alone = XmlDocument.fromString(element.canonicalizeToString())
        open.push(alone)
        validator.validate(alone)
        checked++
      }
    }
    assert.ok(checked >= 5)
    validator.dispose()
    schema.dispose()
  })
})
