// violin slice create, renew, delete: the life of a slice.
import type { Command } from 'commander'
import { Failure, Refusal } from '../../base/errors.js'
import { rfc3339 } from '../../base/time.js'
import { AmError } from '../am-client.js'
import { text, type ManifestNode } from '../demo/slice-client.js'
import { publicKeyOf } from './access.js'
import { onSlice, sliceSubcommand, type Answer, type Flags } from './command.js'
import { readNamed } from './federation-files.js'
import { accessForNew } from './first-steps.js'
import { loginOf, sshWords } from './login.js'
import { localTime } from './printing.js'
import type { Session } from './session.js'
import { sshPublicKey } from './ssh-key.js'
import type { SliceTools } from './tools.js'

export function createCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'create', {
    description: 'ask for the nodes of a request, boot them, and wait until one can log in',
    example: 'violin slice create myslice examples/two-nodes.rspec', sliceOption: false,
  })
    .argument('<name>', 'name of the slice; with the test federation user and credential are made when they are missing')
    .argument('<rspec>', 'file with the request')
    .option('--ssh-key <file...>', 'more public keys that may log in, beside the one of the user\'s certificate')
    .action((name: string, file: string, flags: Flags & { sshKey?: string[] }) => {
      const request = () => readNamed(file, 'the request') // before anything is made
      const said: string[] = []
      return onSlice(tools, flags, (session) => create(session, request(), flags.sshKey ?? [], said), () => {
        request()
        return accessForNew(tools, flags, name, (line) => {
          said.push(line)
          tools.err.write(`violin: ${line}\n`)
        })
      })
    })
}

async function create(session: Session, rspec: string, keyFiles: string[], made: string[]): Promise<Answer> {
  const { client, access } = session
  const keys = [sshPublicKey(publicKeyOf(access), 'geni'), ...keyFiles.map((file) => readNamed(file, '--ssh-key').trim())]
  const allocated = ((await client.allocate(rspec))['geni_slivers'] as { geni_sliver_urn: string }[]).map((s) => s.geni_sliver_urn)
  const provisioned = await client.provision([{ urn: access.userUrn, keys }]).catch(async (error: unknown) => {
    await client.delete(allocated).catch(() => undefined) // they would go by themselves in ten minutes
    throw error
  })
  const then = `${session.command('status')}; to boot it then: ${session.command('start')}`
  await session.follow(`the provisioning of ${session.name}`, text(provisioned, 'violin_operation'), then)
  await session.perform(`the start of ${session.name}`, 'geni_start', {}, allocated)
  await session.waitUntilReady(`the start of ${session.name}`, allocated)
  const nodes = (await session.nodes()).filter((n) => allocated.includes(n.sliver))
  return {
    json: { slice: session.name, urn: access.sliceUrn, made, nodes: nodes.map((n) => ({ name: n.clientId, urn: n.sliver, login: loginOf(n, access) })) },
    lines: [`the slice ${session.name} is up; log in with`, ...nodes.map((n) => `  ${n.clientId}  ${loginLine(session, n)}`)],
  }
}

function loginLine(session: Session, node: ManifestNode): string {
  const login = loginOf(node, session.access)
  return login ? `${session.command(`ssh ${node.clientId}`)}     or: ssh ${sshWords(login, session.access.keyFile).join(' ')}` : 'no login of yours'
}

export function renewCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'renew', {
    description: 'move the end of the slice', example: 'violin slice renew 2d\n  violin slice renew 2026-12-31T18:00:00Z',
  })
    .argument('<time>', 'a date in UTC, or from now: 90m, 12h, 3d')
    .option('--as-long-as-possible', 'less where the credential or the aggregate do not allow so much')
    .action((time: string, flags: Flags & { asLongAsPossible?: boolean }) => onSlice(tools, flags, async (session) => {
      const slivers = await session.client.renew(timeOf(time, tools.clock.now()), flags.asLongAsPossible ?? false).catch((error: unknown) => {
        throw withAdvice(error, session)
      })
      const expires = slivers.map((s) => text(s, 'geni_expires')).sort()[0] ?? ''
      return { json: { slice: session.name, expires }, lines: [`the slice ${session.name} lives until ${localTime(expires)}`] }
    }))
}

/** RFC 3339; what is no span is left for the aggregate to judge. */
export function timeOf(text: string, now: number): string {
  const m = /^\+?(\d{1,6})\s*([mhd])$/.exec(text)
  if (!m) return text
  return rfc3339(now + Number(m[1]) * { m: 60_000, h: 3600_000, d: 24 * 3600_000 }[m[2] as 'm' | 'h' | 'd'])
}

/** In the test federation the user can have a longer credential at once. */
function withAdvice(error: unknown, session: Session): unknown {
  const { local } = session.access
  if (!(error instanceof AmError) || error.geniCode !== 7 || !local) return error
  const longer = `violin certs slice ${session.name} --user ${local.user} --days 30 --dir ${local.state}/federation`
  return new Refusal('refused', `${error.output}; a longer credential: ${longer}`)
}

export function deleteCommand(tools: SliceTools): Command {
  return sliceSubcommand(tools, 'delete', {
    description: 'end all nodes of the slice; its snapshots go with them', example: 'violin slice delete --slice myslice',
  })
    .action((flags: Flags) => onSlice(tools, flags, async (session) => {
      await session.client.delete()
      const left = await session.client.status().catch((error: unknown) => {
        if (error instanceof AmError && error.geniCode === 12) return [] // as it should be: nothing is here any more
        throw error
      })
      if (left.length > 0) throw new Failure('failed', `${left.length} nodes are left after the deletion: ${session.command('status')}`)
      return { json: { slice: session.name, deleted: true }, lines: [`the slice ${session.name} and its snapshots are deleted`] }
    }))
}
