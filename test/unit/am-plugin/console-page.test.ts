import assert from 'node:assert/strict'
import { consolePage } from '../../../am-plugin/console-page.js'
import { Failure } from '../../../base/errors.js'
import { splitPem } from '../../../certs/certificate.js'
import type { User } from '../../../certs/issue.js'
import { mayBegin } from '../../../slices/sliver.js'
import { field, read } from '../certs/field.js'
import { aggregate, ok, refused } from './aggregate.js'

async function served() {
  const am = await aggregate()
  const { alice, bob, trust } = await field()
  const { slivers } = await am.ready(['a', 'b'])
  am.consoles.texts = Object.fromEntries(slivers.map((s) => [s.id, `${s.clientId} says hello\n`]))
  const get = (path: string, user: User | undefined = alice) =>
    consolePage(am.parts, trust, { callId: 'c1', path, peer: user ? splitPem(read(user.certificate)) : [] })
  return { am, alice, bob, slivers, get, trust }
}

describe('geni_console_url', () => {
  it('is the URL of a page at which the creator of the slice reads the console, in every state', async () => {
    const { am, slivers, get, alice } = await served()
    for (const state of mayBegin['geni_console_url']!) {
      await am.store.update(am.sliceUrn, (r) => { for (const s of r.slivers) s.operational = state; return r })
      const url = ok(await am.poa('geni_console_url', {}, [slivers[1]!.urn]))
      assert.equal(url, `https://am.lab.example:8443/console/${slivers[1]!.id}`)
      assert.deepEqual(await get(new URL(url).pathname), { status: 200, text: 'b says hello\n' })
    }
    assert.deepEqual(am.lines.at(-1), { callId: 'c1', caller: alice.urn, page: `/console/${slivers[1]!.id}`, status: 200 })
  })

  it('is for one sliver', async () => {
    const { am, slivers } = await served()
    refused(await am.poa('geni_console_url'), 1, /for one sliver: give its URN, not those of 2/)
    refused(await am.poa('geni_console_url', {}, slivers.map((s) => s.urn)), 1, /for one sliver/)
    ok(await am.allocate(['c']))
    refused(await am.poa('geni_console_url', {}, [(await am.record()).slivers.at(-1)!.urn]), 13, /geni_pending_allocation/)
  })
})

describe('the page of a console', () => {
  it('is shown to nobody else, and asks no host for them', async () => {
    const { am, bob, slivers, get } = await served()
    const path = `/console/${slivers[0]!.id}`
    const others = await get(path, bob)
    assert.equal(others!.status, 403)
    assert.match(others!.text, /is shown to the creator of its slice and to nobody else/)
    const none = await consolePage(am.parts, (await field()).trust, { callId: 'c1', path, peer: [] })
    assert.equal(none!.status, 403)
    assert.match(none!.text, /^your certificate is not accepted here: /)
    await am.store.update(am.sliceUrn, (r) => ({ ...r, shutdown: true }))
    assert.equal((await get(path))!.status, 403)
    assert.deepEqual(am.consoles.asked, [])
  })

  it('says what is not there, and leaves every other path alone', async () => {
    const { am, get } = await served()
    assert.deepEqual(await get('/console/v-nowhere'), { status: 404, text: 'there is no sliver v-nowhere here\n' })
    ok(await am.allocate(['c']))
    const c = (await am.record()).slivers.at(-1)!
    assert.deepEqual(await get(`/console/${c.id}`), { status: 404, text: `${c.id} has no console: it is not provisioned\n` })
    for (const path of ['/', '/console', '/console/', '/console/../x', '/console/a/b', '/console/A', '/am/3.0']) assert.equal(await get(path), undefined, path)
  })

  it('says that the host does not answer', async () => {
    const { am, get, slivers } = await served()
    am.parts.questions = { ...am.parts.questions, consoles: () => Promise.reject(new Failure('timed-out', 'the worker of this aggregate does not answer')) }
    assert.deepEqual(await get(`/console/${slivers[0]!.id}`), { status: 503, text: 'the worker of this aggregate does not answer\n' })
  })
})
