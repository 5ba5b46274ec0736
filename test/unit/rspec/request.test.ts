import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { Refusal } from '../../../base/errors.js'
import { parseRequest } from '../../../rspec/request.js'

const fixtures = new URL('../../fixtures/rspec/', import.meta.url)
const examples = new URL('../../../examples/', import.meta.url)
const good = (name: string) => readFileSync(new URL(`good/${name}.rspec`, fixtures), 'utf8')
const example = (name: string) => readFileSync(new URL(`${name}.rspec`, examples), 'utf8')
const options = {
  componentManager: 'urn:publicid:IDN+am.example.org+authority+am', images: ['standard', 'large'], defaultImage: 'standard',
}
const parse = (xml: string) => parseRequest(xml, options)
const node = { sliverType: 'default-vm', image: 'standard', memoryMiB: 128, cpus: 1, diskMiB: 64, execute: [], interfaces: [] }

describe('a request RSpec', () => {
  it('of three nodes on one LAN becomes a topology with assigned addresses and a policy', () => {
    const member = (name: string, i: number) => ({
      ...node, clientId: name, execute: [{ shell: 'sh', command: 'bank start' }],
      interfaces: [{ clientId: `${name}:if0`, ip: `10.1.1.${i}`, prefixLength: 24 }],
    })
    assert.deepEqual(parse(example('three-nodes')), {
      nodes: [member('a', 1), member('b', 2), member('c', 3)],
      links: [{ clientId: 'lan0', interfaces: ['a:if0', 'b:if0', 'c:if0'] }],
      policy: { intervalMs: 10_000, keep: 8 },
    })
  })

  it('may give addresses and sizes itself', () => {
    const { nodes, policy } = parse(example('two-nodes'))
    assert.deepEqual(nodes.map((one) => [one.sliverType, one.memoryMiB, one.cpus, one.diskMiB, one.interfaces[0]!.ip]),
      [['violin-vm', 128, 1, 64, '192.168.7.1'], ['violin-vm', 128, 1, 64, '192.168.7.2']])
    assert.equal(policy, undefined)
  })

  it('may shape each direction of a link, all of them at once, or none', () => {
    assert.deepEqual(parse(example('shaped-link')).links, [{
      clientId: 'line', interfaces: ['a:if0', 'b:if0'],
      shapes: [
        { from: 'a:if0', to: 'b:if0', capacityKbps: 10_000, latencyMs: 20, loss: 0.02 },
        { from: 'b:if0', to: 'a:if0', capacityKbps: 2_000, latencyMs: 20 },
      ],
    }])
    const lan = (property: string) => parse(example('three-nodes').replace('<link_type', `${property}<link_type`)).links[0]!
    const all = lan('<property latency=" 1.5 " source_id=""/>').shapes!
    assert.deepEqual([all.length, new Set(all.map((s) => `${s.from} ${s.to}`)).size, new Set(all.map((s) => s.latencyMs))], [6, 6, new Set([1.5])])
    assert.equal(lan('<property latency="0" packet_loss="0.0"/>').shapes, undefined)
    assert.equal(lan('<property packet_loss="1e-3"/>').shapes![0]!.loss, 0.001)
    assert.throws(() => lan('<property capacity="7"/>'), /line 26: <link> "lan0" has capacity="7"; it must be a number from 8 to 10000000 kbit\/s$/)
  })

  it('may give the MTU of a link', () => {
    const { links } = parse(example('shaped-link').replace('<link_type', '<violin:link mtu="1400"/><link_type'))
    assert.equal(links[0]!.mtu, 1400)
  })

  it('may have archives installed from the places that the operator names, and from nowhere else', () => {
    const ask = (install: string, sources?: string[]) => parseRequest(
      good('one-node').replace('<node client_id="only"/>', `<node client_id="only"><services>${install}</services></node>`), { ...options, ...sources && { sources } })
    const sources = ['https://files.example.org/']
    const one = (more: string) => `<install url="https://files.example.org/${more}/>`
    assert.deepEqual(ask(one('a.tgz" install_path="/opt/a"') + one('b?x" install_path="/" file_type="tar"'), sources).nodes[0]!.install,
      [{ url: 'https://files.example.org/a.tgz', path: '/opt/a' }, { url: 'https://files.example.org/b?x', path: '/' }])
    assert.throws(() => ask(one('a.tgz" install_path="/opt"')),
      { code: 'unsupported', message: /^line 3: <install> is of "https:\/\/\S+", and this aggregate fetches nothing: its operator has named no places \(up --sources\)$/ })
    assert.throws(() => ask('<install url="https://h/a.tgz" install_path="/opt"/>', sources), { code: 'unsupported', message: /which is not below https/ })
    assert.throws(() => ask(one('a.deb" install_path="/opt"'), sources), { code: 'unsupported', message: /only archives are installed: tar, tgz, tar.gz$/ })
    assert.throws(() => ask(one('a.tgz" install_path="opt"'), sources), { code: 'bad-arguments', message: /it must be an absolute path/ })
    assert.throws(() => ask(one('a.tgz"'), sources), { code: 'bad-arguments', message: /install_path=""/ })
  })

  it('may name the disk image of a node by URL and digest, from the places that the operator names', () => {
    const places = ['https://files.example.org/', 'file:///srv/geni/']
    const ask = (image: string, sources: string[] = places) => parseRequest(good('one-node').replace(
      '<node client_id="only"/>', `<node client_id="only" xmlns:v="urn:geni-violin:rspec:ext:checkpoint:1"><sliver_type name="default-vm">${image}</sliver_type></node>`,
    ), { ...options, sources }).nodes[0]!
    const [sha256, other] = ['0a'.repeat(32), 'b'.repeat(64)]
    const [url, file] = ['https://files.example.org/web.qcow2', 'file:///srv/geni/a/web.IMG']
    for (const image of [`url="${url}#sha256=${sha256}"`, `name="${url}#sha256=${sha256.toUpperCase()}"`, `url="${url}" v:sha256="${sha256}"`, `name=" ${url}" url="${url}" v:sha256=" ${sha256.toUpperCase()} "`]) {
      const { diskFrom, disk, image: guest, diskMiB } = ask(`<disk_image ${image}/>`)
      assert.deepEqual([diskFrom, disk, guest, diskMiB], [{ url, sha256 }, undefined, 'standard', 64], image)
    }
    assert.deepEqual(ask(`<disk_image url="${file}#sha256=${sha256}"/><v:vm disk_mib="16"/>`).diskFrom, { url: file, sha256 })
    const bad = (image: string, code: string, message: RegExp, sources?: string[]) => assert.throws(() => ask(`<disk_image ${image}/>`, sources), { code, message }, image)
    bad(`url="${url}"`, 'bad-arguments', /^line 3: <disk_image> is of "https:\S+", without a digest: write #sha256= and what sha256sum says of the file behind it, or violin:sha256="..." beside it$/)
    bad(`url="${url}#sha256=${sha256}"`, 'unsupported', /this aggregate fetches nothing/, [])
    for (const place of ['https://h/web.qcow2', 'http://files.example.org/web.qcow2', 'ftp://files.example.org/web.qcow2', 'file:///etc/web.qcow2', 'file:///srv/geni/../../etc/web.raw',
      'file:///srv/geni/%2e%2e/web.raw', 'https://a@files.example.org/web.qcow2', 'https://files.example.org.evil/web.qcow2', 'https://files.example.org/']) {
      bad(`url="${place}#sha256=${sha256}"`, 'unsupported', /which is not below|whose name does not say/)
      bad(`name="${place}#sha256=${sha256}"`, 'unsupported', /which is not below|whose name does not say/)
    }
    bad('url="web.qcow2"', 'unsupported', /which is no URL/)
    for (const ending of ['', '.vmdk', '.qcow2.gz', '.iso']) bad(`url="https://files.example.org/web${ending}#sha256=${sha256}"`, 'unsupported', /it must end in \.qcow2, \.raw or \.img/)
    for (const digest of ['#sha256=0a', '#md5=00', '#x']) bad(`url="${url}${digest}"`, 'unsupported', /whose digest is not #sha256= and 64/)
    bad(`url="${url}" v:sha256="0a"`, 'bad-arguments', /a sha256 that is not 64 hexadecimal digits/)
    bad(`url="${url}#sha256=${sha256}" v:sha256="${other}"`, 'bad-arguments', /another sha256 beside it/)
    bad(`url="${url}" v:sha265="${sha256}"`, 'bad-arguments', /an attribute sha265 of our namespace, which it does not know; is sha256 meant\?/)
    bad(`name="standard" v:sha256="${sha256}"`, 'bad-arguments', /belongs to a url/)
    bad(`name="standard" url="${url}#sha256=${sha256}"`, 'bad-arguments', /a name and a url, which may be two images/)
    bad('', 'bad-arguments', /has neither name nor url/)
    bad('url=""', 'bad-arguments', /has neither name nor url/)
  })

  it('may ask for a watchdog of its VMs, from five seconds to an hour', () => {
    const { nodes } = parse(good('watchdog'))
    assert.deepEqual(nodes.map((one) => one.watchdogMs), [30_000, 5_000, 3_600_000, undefined])
    assert.ok(!('watchdogMs' in nodes[3]!))
    const bad = (name: string) => readFileSync(new URL(`bad/bad-arguments.vm-watchdog-${name}.rspec`, fixtures), 'utf8')
    assert.throws(() => parse(bad('too-short')), /line 3: .*vm.* has watchdog="PT4.999S"; it must be from PT5S to PT1H$/)
    assert.throws(() => parse(bad('no-duration')), /line 3: .*vm.* has watchdog="30", which is no duration such as PT10S/)
  })

  it('may be as short as one node with a name', () => {
    assert.deepEqual(parse(good('one-node')), { nodes: [{ ...node, clientId: 'only' }], links: [] })
  })

  it('is read by namespace, not by prefix', () => {
    const { nodes, links } = parse(good('prefixed'))
    assert.deepEqual([nodes.length, links.length], [2, 1])
  })

  it('keeps to itself what is for other managers and what no aggregate knows', () => {
    const { nodes, links } = parse(good('extensions'))
    assert.deepEqual(nodes.map((one) => one.clientId), ['b'])
    assert.deepEqual(links, [])
  })

  it('gets an interval below the minimum and more snapshots than the maximum clipped, not refused', () => {
    assert.deepEqual(parse(good('policy')).policy, { intervalMs: 5_000, keep: 32, maxPauseMs: 500 })
  })

  it('may bound the age and the bytes of the snapshots of its policy', () => {
    assert.deepEqual(parse(good('retention')).policy, { keep: 3, maxAgeMs: 2 * 86_400_000, maxBytes: 20_000_000_000 })
  })

  it('made from a manifest has what the manifest said about snapshots ignored', () => {
    const { policy, nodes } = parse(good('manifest-used-again'))
    assert.deepEqual(policy, { intervalMs: 900_000, keep: 4 })
    assert.equal(nodes.length, 1)
  })

  it('with some addresses given gets the others from the same network, or from one that meets none', () => {
    const { nodes } = parse(good('some-addresses'))
    assert.deepEqual(nodes.map((one) => one.interfaces.map((each) => each.ip)),
      [['10.1.1.9', '10.2.1.1'], ['10.1.1.2', '10.2.1.2'], ['10.1.1.1']])
  })

  it('gets the same addresses every time', () => {
    assert.deepEqual(parse(good('some-addresses')), parse(good('some-addresses')))
  })

  for (const file of readdirSync(new URL('bad/', fixtures))) {
    it(`that is bad is refused in one sentence with the right code: ${file}`, () => {
      assert.throws(() => parse(readFileSync(new URL(`bad/${file}`, fixtures), 'utf8')), (error) => {
        assert.ok(error instanceof Refusal, String(error))
        assert.equal(error.code, file.split('.')[0], error.message)
        assert.match(error.message, /^[\x20-\x7e]{10,300}$/)
        return true
      })
    })
  }

  it('for an unknown image is answered with the images that there are, and the line', () => {
    const file = readFileSync(new URL('bad/not-found.unknown-image.rspec', fixtures), 'utf8')
    assert.throws(() => parse(file), /line 3: node "a" asks for the disk image ".*windows", which is not here; there are: standard, large$/)
  })

  const sentences: [file: string, sentence: RegExp][] = [
    ['misspelt-attribute', /^line 3: <node> "a" has an attribute exclusiv, which it does not know; is exclusive meant\?$/],
    ['misspelt-property', /^line 4: <property> has an attribute capcity, which it does not know; is capacity meant\?$/],
    ['text-in-node', /^line 3: <node> "a" has the text "sliver_type name=.*", and no text can stand in <node>$/],
    ['exclusive-maybe', /^line 3: <node> "a" has exclusive="maybe"; it must be "true" or "false"$/],
    ['sliver-type-without-name', /^line 3: <sliver_type> has no name$/],
    ['address-out-of-network',
      /^line 4: <link> "lan" has 10\.5\.0\.1 with the netmask 255\.255\.255\.0 at "a:0" and 10\.5\.1\.2 with .* at "b:0"; all on a link are in one network$/],
    ['address-of-logins', /^line 4: <link> "lan" has the address 10\.0\.2\.7 at "a:0", which is in the network that nodes have for logins, 10\.0\.2\.0\/24$/],
    ['networks-overlap', /^line 3: <node> "a" has "a:0" and "a:1" in networks that overlap, 10\.5\.0\.9 and 10\.5\.0\.1$/],
    ['address-on-two-links', /^line 5: <link> "two" has the address 10\.5\.0\.1 at "c:0", which "a:0" has, too$/],
    ['same-address-twice', /has the address \S+ at ".*", which ".*" has, too$/],
  ]
  for (const [name, sentence] of sentences) {
    it(`that is bad is told where and how: ${name}`, () => {
      assert.throws(() => parse(readFileSync(new URL(`bad/bad-arguments.${name}.rspec`, fixtures), 'utf8')), { message: sentence })
    })
  }

  it('has its foreign nodes and links, and elements of others, left alone, whatever is in them', () => {
    const xml = good('extensions').replace('<sliver_type name="raw-pc"/>', '<sliver_type speed="fast">words</sliver_type><violin:odd xmlns:violin="urn:x"/>')
      .replace('<link client_id="far">', '<link client_id="far" capcity="1">').replace('<jfed:location', '<jfed:more><node odd="1">text</node></jfed:more><jfed:location')
    assert.deepEqual(parse(xml).nodes.map((one) => one.clientId), ['b'])
  })

  it('gets no address and no network that its slice has already', () => {
    const taken = [{ ip: '10.1.1.1', prefixLength: 24 }, { ip: '10.2.1.7', prefixLength: 24 }]
    const ips = (xml: string) => parseRequest(xml, { ...options, taken }).nodes.map((one) => one.interfaces[0]!.ip)
    assert.deepEqual(ips(example('three-nodes')), ['10.3.1.1', '10.3.1.2', '10.3.1.3'])
    assert.throws(() => ips(example('two-nodes').replace('192.168.7.2', '10.1.1.1').replace('192.168.7.1', '10.1.1.2')),
      /"lan0" has the address 10\.1\.1\.1 at "b:if0", which another node of the slice has, too$/)
    const one = example('two-nodes').replace(/<ip address="192.168.7.2"[^>]*>/, '').replace('192.168.7.1', '10.1.1.2')
    assert.deepEqual(ips(one), ['10.1.1.2', '10.1.1.3'], 'the other one of a given network')
  })

  it('over the bound is refused as too big', () => {
    assert.throws(() => parse(' '.repeat(1024 * 1024 + 1)), { code: 'too-big' })
  })

  it('of more elements than any RSpec has is refused before they are looked at', () => {
    const xml = good('one-node').replace('</rspec>', `${'<x xmlns=""/>'.repeat(25_000)}</rspec>`)
    assert.throws(() => parse(xml), /more than 20000 elements/)
  })

  it('of whatever bytes throws nothing but refusals, with ASCII sentences', () => {
    const base = example('three-nodes')
    const words = fc.constantFrom('<node client_id="a"/>', '</node>', 'client_id="x"', '"', '<', '&', '\0', '\u00fc', 'violin:', '<violin:vm/>',
      'interval="PT"', '<ip address="1.1.1.1"/>', 'netmask="0.0.0.0"', '\ud800', 'xmlns="urn:x"', ' ')
    const spoilt = fc.tuple(fc.nat(base.length - 1), fc.oneof(words, fc.string()), fc.nat(40))
      .map(([at, text, drop]) => base.slice(0, at) + text + base.slice(at + drop))
    fc.assert(fc.property(fc.oneof(fc.string(), spoilt), (xml) => {
      try {
        parse(xml)
      } catch (error) {
        assert.ok(error instanceof Refusal, String(error))
        assert.match(error.message, /^[\t\n\x20-\x7e]*$/)
      }
    }), { numRuns: 600 })
  })
})
