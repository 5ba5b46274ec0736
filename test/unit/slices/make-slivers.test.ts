import assert from 'node:assert/strict'
import { Refusal } from '../../../base/errors.js'
import { realRandom } from '../../../base/random.js'
import type { Topology } from '../../../rspec/topology.js'
import { makeSlivers, type SliverParts } from '../../../slices/make-slivers.js'
import { vmSpecOf } from '../../../slices/vm-spec-of.js'
import { aSlice, aSliver, noon } from '../../a-slice.js'

function topologyOf(names: string[]): Topology {
  const nodes = names.map((clientId, i) => ({ ...aSliver(clientId).node, interfaces: [
    { clientId: `${clientId}:0`, ip: `10.0.0.${i + 1}`, prefixLength: 24 }, { clientId: `${clientId}:unlinked`, ip: '', prefixLength: 24 },
  ] }))
  return { nodes, links: [{ clientId: 'lan', interfaces: names.map((n) => `${n}:0`) }] }
}

const partsOf = (names: string[], more: Partial<SliverParts> = {}): SliverParts => ({
  topology: topologyOf(names), hostOf: new Map(names.map((n) => [n, 'h1'])), authority: 'lab.example', allocationIndex: 0, nextPort: 5,
  takenPorts: new Set(), random: realRandom, expires: noon, ...more,
})

describe('making slivers', () => {
  it('gives each an id, MACs, port numbers and a login port of its own, beginning where the slice has got to', () => {
    const names = Array.from({ length: 40 }, (_, i) => `n${i}`)
    const { slivers, nextPort } = makeSlivers(partsOf(names))
    const unique = (values: unknown[]) => assert.equal(new Set(values).size, 40)
    unique(slivers.map((s) => s.id))
    unique(slivers.map((s) => s.loginPort))
    unique(slivers.flatMap((s) => s.nics.map((n) => n.mac)))
    assert.deepEqual(slivers.flatMap((s) => s.nics.map((n) => n.port)), names.map((_, i) => i + 5))
    assert.equal(nextPort, 45)
    for (const s of slivers) {
      assert.match(s.id, /^[a-z0-9-]+$/)
      assert.equal(s.urn, `urn:publicid:IDN+lab.example+sliver+${s.id}`)
      assert.ok(s.loginPort >= 22_000 && s.loginPort < 30_000)
      for (const { mac } of s.nics) assert.equal(Number.parseInt(mac.slice(0, 2), 16) & 3, 2, 'locally administered, unicast')
    }
  })

  it('gives an interface that is on no link no port', () => {
    const { slivers } = makeSlivers(partsOf(['a']))
    assert.deepEqual(slivers[0]!.nics.map((n) => n.clientId), ['a:0'])
  })

  it('tells the receiving interface how the link to it is shaped, by the number of the sending port, and all of the MTU', () => {
    const parts = partsOf(['a', 'b', 'c'])
    parts.topology.links[0]!.shapes = [{ from: 'a:0', to: 'b:0', capacityKbps: 10_000, latencyMs: 20, loss: 0.02 }, { from: 'c:0', to: 'b:0', latencyMs: 5 }]
    parts.topology.links[0]!.mtu = 1_400
    const { slivers } = makeSlivers(parts)
    const specs = slivers.map((sliver) => vmSpecOf(aSlice('exp1', { slivers }), sliver))
    assert.deepEqual(specs.map((spec) => spec.nics[0]!.shapes), [
      undefined, [{ from: 5, capacityKbps: 10_000, latencyMs: 20, loss: 0.02 }, { from: 7, latencyMs: 5 }], undefined,
    ])
    assert.deepEqual(specs.map((spec) => spec.nics[0]!.mtu), [1_400, 1_400, 1_400])
  })

  it('never gives a login port that another sliver has, and refuses when there is none left', () => {
    const all = Array.from({ length: 8000 }, (_, i) => 22_000 + i)
    const { slivers } = makeSlivers(partsOf(['a'], { takenPorts: new Set(all.filter((p) => p !== 23_456)) }))
    assert.equal(slivers[0]!.loginPort, 23_456)
    assert.throws(() => makeSlivers(partsOf(['a'], { takenPorts: new Set(all) })), (e) => e instanceof Refusal && e.code === 'too-big')
  })

  it('tells a VM of its watchdog where it has one', () => {
    const { slivers: [plain] } = makeSlivers(partsOf(['a']))
    const watched = { ...plain!, node: { ...plain!.node, watchdogMs: 30_000 } }
    const specs = [plain!, watched].map((sliver) => vmSpecOf(aSlice('exp1', { slivers: [sliver] }), sliver))
    assert.deepEqual(specs.map((spec) => ['watchdogMs' in spec, spec.watchdogMs]), [[false, undefined], [true, 30_000]])
  })

  it('tells each VM the names and addresses of all', () => {
    const { slivers } = makeSlivers(partsOf(['a', 'b']))
    const spec = vmSpecOf(aSlice('exp1', { slivers }), slivers[1]!)
    assert.deepEqual(spec.neighbours, [{ name: 'a', ip: '10.0.0.1' }, { name: 'b', ip: '10.0.0.2' }])
    assert.deepEqual([spec.clientId, spec.nics[0]!.name, spec.nics[0]!.lan, spec.nics[0]!.ip], ['b', 'b:0', 'lan', '10.0.0.2'])
  })
})
