// A second slice on the same host: a fault in an operation of the first one is none of its business.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { realRandom } from '../../base/random.js'
import { realClock as clock } from '../../base/time.js'
import { issueSlice } from '../../certs/issue.js'
import { openBank, type Bank } from '../../cli/bank/reader.js'
import { loginsOf, SliceClient, text } from '../../cli/demo/slice-client.js'
import { assertSending } from './moving.js'
import type { FaultRig } from './rig.js'

const lifeMs = 24 * 3_600_000
const readyMs = 120_000
const node = (name: string) => `<node client_id="${name}" exclusive="false"><sliver_type name="default-vm"/>
  <services><execute shell="sh" command="bank start"/></services><interface client_id="${name}:if0"/></node>`
const request = `<rspec type="request" xmlns="http://www.geni.net/resources/rspec/3">${node('x')}${node('y')}
  <link client_id="lan0"><interface_ref client_id="x:if0"/><interface_ref client_id="y:if0"/><link_type name="lan"/></link></rspec>`

/** Two nodes under bank load. After: they run, and the rig knows of their processes. */
export async function openBystander(rig: FaultRig): Promise<Bank[]> {
  const issued = await issueSlice(join(rig.state, 'federation'), 'alice', 'bystander', { clock, random: realRandom, lifeMs })
  const slice = new SliceClient(rig.am, issued.urn, readFileSync(issued.credential, 'utf8'), clock)
  await slice.allocate(request)
  const logins = loginsOf(text(await slice.provision([rig.user]), 'geni_rspec'))
  rig.others = logins.length
  await rig.whenFree(() => slice.action('geni_start'))
  await slice.waitFor('geni_ready', readyMs)
  const banks = logins.map((l) => openBank({ name: l.clientId, host: l.host, port: l.port, username: l.username, privateKey: rig.key }))
  await assertSending(banks, 'the bystander')
  return banks
}
