// Is a snapshot whole, untampered, consistent and lossless? As `violin verify` asks it, of its files alone; the aggregate runs meanwhile, and may
// just be merging layers: then it is asked again where they are now.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { explain } from '../../base/errors.js'
import { openFederation } from '../../certs/issue.js'
import { layoutOf } from '../../cli/up/layout.js'
import { disksOf } from '../../cli/verify/find.js'
import { verifySnapshot as verify } from '../../snapshots/verify.js'

/** What is wrong with it, and what its proof does not cover. */
export interface Verified { wrong: string[]; notCovered: string[] }

const looks = 3

export async function verifySnapshot(state: string, slice: string, id: string): Promise<Verified> {
  const { federation, store } = layoutOf(state)
  const folder = join(store, slice, id)
  const { am } = await openFederation(federation)
  const certificates = [new X509Certificate(readFileSync(am.certificate))]
  let last: Verified = { wrong: ['it was not looked at'], notCovered: [] }
  for (let look = 1; look <= looks && last.wrong.length > 0; look++) {
    last = await verify({ folder, certificates, disks: disksOf(folder, { state }) }).then(
      ({ checks, notCovered }) => ({ wrong: Object.values(checks).flatMap(({ problems }) => problems), notCovered }),
      (error: unknown) => ({ wrong: [explain(error)], notCovered: [] }))
  }
  return last
}
