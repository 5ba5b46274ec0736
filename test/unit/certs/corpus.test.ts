// Every attack of test/corpus/credentials: refused with the reason that its file expects, while the same call without the
// attack is allowed.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { authorize } from '../../../certs/authorize.js'
import { splitPem } from '../../../certs/certificate.js'
import { verifyPeer } from '../../../certs/remembered.js'
import { loadTrust } from '../../../certs/trust-folder.js'
import type { Call, Entry } from '../../corpus/credentials/attack.js'
import { askXmlsec1 } from '../../corpus/credentials/xmlsec1.js'

const folder = join(import.meta.dirname, '../../corpus/credentials')
const now = Date.UTC(2026, 5, 1, 12)
const text = (name: string) => readFileSync(join(folder, name), 'utf8')
const entries = readdirSync(join(folder, 'attacks')).filter((name) => name.endsWith('.json')).sort()
  .map((name) => JSON.parse(text(`attacks/${name}`)) as Entry)
const goods = Object.fromEntries(['slice', 'delegated', 'speaks-for'].map((name) => [name, JSON.parse(text(`good/${name}.json`)) as Call]))

/** As the aggregate does it: first the certificate of the connection, then the credentials. Undefined: allowed. */
function refusal(call: Call): string | undefined {
  const trust = loadTrust(['world/root.pem', ...call.trust ?? []].map((name) => join(folder, name)))
  const caller = verifyPeer(splitPem(text(call.caller)), trust, now)
  if (!caller.ok) return caller.why
  const credentials = call.credentials.map((name) => {
    const value = text(name)
    return value.includes('<type>abac</type>') ? { type: 'geni_abac', version: '1', value } : { type: 'geni_sfa', version: '3', value }
  })
  const answer = authorize({
    caller: caller.certificate, credentials, operation: call.operation ?? 'change', sliceUrn: call.slice, trust, now,
    ...(call.speakingFor === undefined ? {} : { speakingFor: call.speakingFor }),
  })
  return answer.allowed ? undefined : answer.why
}

describe('the corpus of attacks', () => {
  for (const [name, call] of Object.entries(goods)) {
    it(`begins with a ${name} call that is allowed`, () => assert.equal(refusal(call), undefined))
  }

  it('has at least forty attacks, each with a reason and a call that is allowed without it', () => {
    assert.ok(entries.length >= 40, `${entries.length}`)
    for (const { name, attack, reason, unmutated } of entries) assert.ok(attack !== '' && reason !== '' && unmutated in goods, name)
  })

  for (const entry of entries) {
    it(`refuses ${entry.name}: ${entry.attack}`, () => {
      const why = refusal(entry)
      assert.ok(why !== undefined, 'it was allowed')
      assert.ok(why.includes(entry.reason), `expected "${entry.reason}", got "${why}"`)
      assert.ok(!/[\r\n]/.test(why) && why.length < 2000, why)
    })
  }

  it('fools xmlsec1 where its files say so', function () {
    this.timeout(120_000)
    if (askXmlsec1(folder, 'good/slice.xml') === undefined) this.skip() // it is data about another program
    const forged = entries.filter((e) => e.credentials.at(-1)!.startsWith('attacks/'))
    const fooled = forged.filter((e) => e.xmlsec1 === 'accepts')
    assert.ok(fooled.length >= 10, `${fooled.length}`)
    for (const { name, credentials } of fooled) assert.equal(askXmlsec1(folder, credentials.at(-1)!), 'accepts', name)
  })
})
