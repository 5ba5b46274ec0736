// The login of the user on a node, and the words of `ssh` for it.
import { sameUrn } from '../../base/urn.js'
import type { ManifestNode } from '../demo/slice-client.js'
import type { Access } from './access.js'

export interface OwnLogin { host: string; port: number; username: string }

/** Undefined before Provision, or where the node was provisioned for others. */
export function loginOf(node: ManifestNode, access: Access): OwnLogin | undefined {
  const mine = node.logins.find((l) => sameUrn(l.userUrn, access.userUrn))
  return mine && { host: mine.host, port: mine.port, username: mine.username }
}

/** Arguments of `ssh`. Ports are used again by other nodes with other host keys, so none is remembered. */
export function sshWords({ host, port, username }: OwnLogin, keyFile: string): string[] {
  return [
    '-i', keyFile, '-o', 'IdentitiesOnly=yes', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR',
    '-p', String(port), `${username}@${host}`,
  ]
}
