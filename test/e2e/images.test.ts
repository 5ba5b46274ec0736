// Images of disks, through the whole program and the API alone: what was on the disk of a node is on that of a node of another slice,
// whatever has become of the first one, of the agent in the middle, and of the image afterwards.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { realRandom } from '../../base/random.js'
import { newSshKeys } from '../../base/ssh-key.js'
import { realClock as clock, until } from '../../base/time.js'
import { issueSlice, issueUser, openFederation, userOf } from '../../certs/issue.js'
import { AmError, makeAmClient, type AmClient } from '../../cli/am-client.js'
import { loginsOf, SliceClient, text, type NodeLogin, type Struct } from '../../cli/demo/slice-client.js'
import { FaultRig } from '../faults/rig.js'

const image = (name: string) => `urn:publicid:IDN+violin.localhost+image+${name}`
const request = (disk: string, size = '') => '<rspec type="request" xmlns="http://www.geni.net/resources/rspec/3" xmlns:violin="urn:geni-violin:rspec:ext:checkpoint:1">' +
  `<node client_id="copy"><sliver_type name="default-vm"><disk_image name="${disk}"/>${size}</sliver_type></node></rspec>`

describe('an image of the disk of a node', function () {
  this.timeout(180_000)
  const keys = newSshKeys()
  let rig: FaultRig
  let dir: string

  beforeEach(async () => {
    rig = new FaultRig('simulated')
    await rig.open('on_failure="continue"')
    dir = join(rig.state, 'federation')
  })
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') await rig.abandon()
    else await rig.close()
  })

  interface User { urn: string; am: AmClient; slice: string; uuid: string; credential: string; credentials: Struct[]; client: SliceClient }
  /** A user with a slice of this name. */
  async function userWith(name: string, slice: string): Promise<User> {
    const pem = (file: string) => readFileSync(file, 'utf8')
    const user = userOf(await openFederation(dir), name)
    if (!existsSync(user.credential)) await issueUser(dir, name, { clock, random: realRandom })
    const issued = await issueSlice(dir, name, slice, { clock, random: realRandom, lifeMs: 24 * 3_600_000 })
    const am = makeAmClient({ url: rig.url, key: pem(user.key), cert: pem(user.certificate), ca: pem(rig.trust) })
    const credential = pem(issued.credential)
    return {
      urn: user.urn, am, slice: issued.urn, uuid: issued.uuid, credential, credentials: [{ geni_type: 'geni_sfa', geni_version: '3', geni_value: credential }],
      client: new SliceClient(am, issued.urn, credential, clock),
    }
  }
  const alice = () => userWith('alice', 'faults')

  async function images(user: User): Promise<Struct[]> {
    return (await rig.call(() => user.am.geni('ListImages', [user.urn, user.credentials, {}]))) as Struct[]
  }
  async function ready(user: User, name: string): Promise<void> {
    let last: Struct | undefined
    const found = await until(clock, 60_000, 100, async () => {
      last = (await images(user)).find((i) => i['urn'] === image(name))
      return last?.['violin_state'] === 'ready' ? true : undefined
    })
    assert.ok(found, JSON.stringify(last))
  }
  async function refused(work: Promise<unknown>, code: number, why: RegExp): Promise<void> {
    await assert.rejects(work, (error) => error instanceof AmError && error.geniCode === code && why.test(error.message))
  }

  const run = ({ host, port, username }: NodeLogin, command: string, key: string): Promise<string> => new Promise((done, fail) => {
    const client = new ssh2.Client()
    let said = ''
    client.once('error', fail).once('ready', () => client.exec(command, (error, stream) => {
      if (error) return fail(error)
      stream.on('data', (chunk: Buffer) => { said += chunk.toString() }).on('close', () => { client.end(); done(said.trim()) })
    })).connect({ host, port, username, privateKey: key })
  })

  async function makeImage(user: User, name: string, global: boolean): Promise<void> {
    const [sliver] = (await rig.call(() => user.client.status())).map((s) => s.urn)
    const made = await rig.whenFree(() => user.am.geni('CreateImage', [user.slice, name, sliver!, user.credentials, { global }]))
    assert.deepEqual(made, [image(name)])
  }
  async function boot(user: User, rspec: string): Promise<NodeLogin> {
    await user.client.allocate(rspec)
    const [login] = loginsOf(text(await user.client.provision([{ urn: user.urn, keys: [keys.public] }]), 'geni_rspec'))
    await rig.whenFree(() => user.client.action('geni_start'))
    await user.client.waitFor('geni_ready', 60_000)
    return login!
  }

  it('is found by a node of a new slice when the slice that it was made of is gone, and stays there when the image is gone too', async () => {
    const user = await alice()
    const first = rig.nodeLogins[0]!
    await run(first, 'bank stop', rig.key)
    await run(first, 'disk write "what the experiment has left"', rig.key)
    await makeImage(user, 'left', false)
    await run(first, 'disk write later', rig.key)
    await rig.whenFree(() => user.client.delete())
    await ready(user, 'left')

    const next = await userWith('alice', 'next')
    const advertisement = await next.am.geni('ListResources', [next.credentials, { geni_rspec_version: { type: 'GENI', version: '3' } }])
    assert.match(advertisement as string, /image\+left"/)
    await refused(next.client.allocate(request(image('left'), '<violin:vm disk_mib="16"/>')), 1, /disk_mib="16"; it must be from 64 to/)
    const login = await boot(next, request(image('left')))
    assert.equal(await run(login, 'disk read', keys.private), 'what the experiment has left')
    await run(login, 'disk write "its own"', keys.private)

    await next.am.geni('DeleteImage', [image('left'), next.credentials, {}])
    assert.ok(await until(clock, 10_000, 50, async () => ((await images(next)).length === 0 ? true : undefined)))
    assert.deepEqual(readdirSync(join(rig.state, 'host', 'images')), [])
    const [answer] = await rig.whenFree(() => next.client.action('violin_snapshot'))
    await next.client.waitForSnapshot((s) => text(s, 'urn') === text(answer!, 'violin_snapshot'), 30_000)
    await run(login, 'disk write "after the snapshot"', keys.private)
    await rig.whenFree(() => next.client.action('violin_rollback', { violin_snapshot: text(answer!, 'violin_snapshot') }))
    await next.client.waitFor('geni_ready', 60_000)
    assert.equal(await run(login, 'disk read', keys.private), 'its own')
    await rig.whenFree(() => next.client.action('geni_restart'))
    await next.client.waitFor('geni_ready', 60_000)
    assert.equal(await run(login, 'disk read', keys.private), 'its own')
    await rig.whenFree(() => next.client.delete())
    const layers = join(rig.state, 'host', 'layers')
    assert.ok(await until(clock, 30_000, 100, () => (readdirSync(layers).length === 0 ? true : undefined)), readdirSync(layers).join(' '))
  })

  it('is its owner\'s, unless it is for all; what cannot be had is refused', async () => {
    const user = await alice()
    await makeImage(user, 'mine', false)
    await makeImage(user, 'ours', true)
    await ready(user, 'mine')
    await ready(user, 'ours')
    const bob = await userWith('bob', 'bobs')
    await refused(bob.client.allocate(request(image('mine'))), 12, /"urn:.*image\+mine", which is not here; there are: violin-linux, ours/)
    await refused(bob.am.geni('DeleteImage', [image('mine'), bob.credentials, {}]), 12, /there is no image/)
    await refused(bob.am.geni('DeleteImage', [image('ours'), bob.credentials, {}]), 3, /only .*alice and operators/)
    await refused(bob.am.geni('ListImages', [user.urn, bob.credentials, {}]), 3, /only .*alice and operators/)
    await refused(bob.am.geni('DeleteImage', [image('violin-linux'), bob.credentials, {}]), 3, /belongs to this aggregate/)
    const [sliver] = (await user.client.status()).map((s) => s.urn)
    await refused(rig.call(() => user.am.geni('CreateImage', [user.slice, 'MINE', sliver!, user.credentials, {}]), [14]), 17, /there is an image of the name MINE already/)
    await refused(bob.am.geni('CreateImage', [user.slice, 'x', sliver!, bob.credentials, {}]), 3, /./)
    await boot(bob, request('ours'))
    assert.equal((await images(user)).length, 2)
  })

  for (const point of ['agent.image.begun', 'agent.image.copied', 'agent.image.named']) {
    it(`is made all the same when the agent dies (${point})`, async () => {
      const user = await alice()
      rig.arm(point, ['agent'])
      await makeImage(user, 'tough', false)
      await rig.struck(point)
      await ready(user, 'tough')
      assert.ok(await until(clock, 10_000, 50, () => (readdirSync(join(rig.state, 'host', 'images')).length === 2 ? true : undefined)))
      await rig.assertMoving()
      await rig.snapshot()
      await rig.assertConserved()
    })
  }

  it('is gone when the agent dies while it is removed', async () => {
    const user = await alice()
    await makeImage(user, 'gone', false)
    await ready(user, 'gone')
    rig.arm('agent.image.unnamed', ['agent'])
    await user.am.geni('DeleteImage', [image('gone'), user.credentials, {}]).catch(() => undefined) // it may not have heard of its success
    await rig.struck('agent.image.unnamed')
    assert.ok(await until(clock, 30_000, 100, async () => ((await images(user)).length === 0 ? true : undefined)))
    assert.ok(!existsSync(join(rig.state, 'host', 'images')) || readdirSync(join(rig.state, 'host', 'images')).length === 0)
  })
})
