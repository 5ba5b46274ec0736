// With the test federation of an aggregate of one's own, the first `create` makes what is missing: a user and a credential
// for the slice. It says so, and takes what is there.
import { Refusal } from '../../base/errors.js'
import { checkUserName } from '../../certs/names.js'
import { issueSlice, issueUser } from '../../certs/issue.js'
import { layoutOf } from '../up/layout.js'
import { findAccess, isForeign, oneUser, urlOf, type Access, type AccessFlags } from './access.js'
import { aboutCredential, credentialsIn, hasFederation, readNamed, usersIn } from './federation-files.js'
import type { SliceTools } from './tools.js'

const lifeMs = 7 * 24 * 3600_000

/** Access to a slice of this name, made where the federation is ours to make it in. */
export async function accessForNew(tools: SliceTools, flags: AccessFlags, name: string, say: (line: string) => void): Promise<Access> {
  const { federation: dir } = layoutOf(flags.state)
  const now = tools.clock.now()
  if (isForeign(flags) || !hasFederation(dir)) return findAccess({ ...flags, slice: name }, now)
  urlOf(flags) // nothing is made for an aggregate that is not there
  const user = await userFor(tools, dir, flags.user, say)
  const known = credentialsIn(dir).find((c) => c.user === user && c.slice === name.toLowerCase())
  if (!known || aboutCredential(readNamed(known.file, 'the credential'), known.file).expires <= now) {
    const slice = await issueSlice(dir, user, name, { clock: tools.clock, random: tools.random, lifeMs })
    say(`made a credential of ${user} for the slice ${slice.name}, good for 7 days: ${slice.credential}`)
  }
  return findAccess({ ...flags, user, slice: name }, now)
}

async function userFor(tools: SliceTools, dir: string, wanted: string | undefined, say: (line: string) => void): Promise<string> {
  const users = usersIn(dir)
  const name = wanted ?? (users.length === 0 ? firstName(tools.loginName) : oneUser(dir, undefined))
  if (users.includes(name)) return name
  const user = await issueUser(dir, name, { clock: tools.clock, random: tools.random })
  say(`made the user ${name} in the test federation: ${user.certificate}`)
  return name
}

/** The one who is logged in, where that can be the name of an experimenter. */
function firstName(login: string): string {
  try {
    checkUserName(login)
    return login === 'root' ? 'experimenter' : login
  } catch (error) {
    if (error instanceof Refusal) return 'experimenter'
    throw error
  }
}
