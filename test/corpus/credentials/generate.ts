// Makes the corpus anew: node --import tsx test/corpus/credentials/generate.ts. It needs xmlsec1 (Debian). Keys, clock and
// dice are fixed, so git shows what has changed.
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { delegate, letSpeak } from '../../../certs/delegate.js'
import type { Call, Draft, Entry } from './attack.js'
import { onDelegation, onNames, onSpeaking } from './attacks-on-rights.js'
import { onKeys, onShape, onSignature, onValues } from './attacks-on-xml.js'
import { credential, dayMs, folder, makeWorld, now, write, writeWorld } from './world.js'
import { askXmlsec1 } from './xmlsec1.js'

const w = await makeWorld()
for (const part of ['good', 'attacks']) {
  rmSync(join(folder, part), { recursive: true, force: true })
  mkdirSync(join(folder, part))
}
writeWorld(w)
const good = credential(w)
const delegated = delegate({ xml: good, from: w.alice, to: w.bob.pem, serial: '8' })
write('good/slice.xml', good)
write('good/delegated.xml', delegated)
write('good/speaks-for.xml', letSpeak({ user: w.alice, tool: w.portal.pem, expires: now + dayMs }))
const calls: Record<NonNullable<Draft['on']>, Call> = {
  'slice': { caller: 'world/alice.pem', credentials: ['good/slice.xml'], slice: w.exp1.urn },
  'delegated': { caller: 'world/bob.pem', credentials: ['good/delegated.xml'], slice: w.exp1.urn },
  'speaks-for': { caller: 'world/portal.pem', credentials: ['good/slice.xml', 'good/speaks-for.xml'], slice: w.exp1.urn, speakingFor: w.alice.urn },
}
for (const [name, call] of Object.entries(calls)) write(`good/${name}.json`, `${JSON.stringify(call, undefined, 2)}\n`)

const drafts: Draft[] = [
  ...onValues(w, good), ...onShape(w, good), ...onSignature(w, good), ...onKeys(w, good), ...await onNames(w),
  ...await onDelegation(w, good, delegated), ...await onSpeaking(w),
]
for (const draft of drafts) writeEntry(draft)
process.stdout.write(`${drafts.length} attacks\n`)

function writeEntry({ name, attack, reason, on = 'slice', xml, call = {} }: Draft): void {
  const self = `attacks/${name}.xml`
  if (xml !== undefined) write(self, xml)
  const usual = calls[on]
  const credentials = (call.credentials ?? (xml === undefined ? usual.credentials : [...usual.credentials.slice(0, -1), self])).map((c) => (c === 'SELF' ? self : c))
  const xmlsec1 = askXmlsec1(folder, credentials.at(-1)!)
  if (xmlsec1 === undefined) throw new Error('xmlsec1 is missing: apt-get install xmlsec1')
  const entry: Entry = { name, attack, unmutated: on, reason, xmlsec1, ...usual, ...call, credentials }
  write(`attacks/${name}.json`, `${JSON.stringify(entry, undefined, 2)}\n`)
}
