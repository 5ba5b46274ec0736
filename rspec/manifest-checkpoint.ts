// What the manifest says about snapshots: the policy that is in force, why it differs from the one asked for, and the
// snapshots that there are.
import { retentionAttributes } from './checkpoint.js'
import { parseDuration, formatDuration } from './duration.js'
import { violinNs } from './names.js'
import { addChild as add, attribute, childrenOf, type XmlElement } from './xml.js'
import type { CheckpointPolicy } from './topology.js'

export interface ManifestPolicy {
  /** As applied, after clipping: Topology.policy of the request. */
  applied: CheckpointPolicy
  /** RFC 3339: when the next snapshot by policy is due. */
  next?: string
}

export interface ManifestSnapshot {
  id: string
  name: string
  /** Id of the snapshot that this one grew from; '' for none. */
  parent: string
  /** RFC 3339. */
  created: string
  /** policy, user or suspend. */
  origin: string
  bytes: number
  members: readonly { clientId: string; sliverUrn: string; pauseMs?: number }[]
}

/** Puts policy and snapshots into the root's <rspec_checkpoint>, which is made where there is none. */
export function annotatePolicy(root: XmlElement, policy: ManifestPolicy | undefined, snapshots: readonly ManifestSnapshot[]): void {
  const present = childrenOf(root, violinNs, 'rspec_checkpoint')[0]
  for (const old of present ? childrenOf(present, violinNs) : []) {
    if (old.name === 'effective' || old.name === 'snapshot') old.remove() // of a manifest that was used as a request
  }
  if (!policy && snapshots.length === 0) return
  const element = present ?? addCheckpoint(root)
  if (policy) addEffective(element, policy)
  for (const snapshot of snapshots) addSnapshot(element, snapshot)
}

function addCheckpoint(root: XmlElement): XmlElement {
  const element = root.addElement('rspec_checkpoint')
  element.addNsDeclaration(violinNs, 'violin')
  element.prefix = 'violin'
  return element
}

function addEffective(parent: XmlElement, { applied, next }: ManifestPolicy): void {
  const effective = add(parent, 'effective', {
    interval: applied.intervalMs === undefined ? undefined : formatDuration(applied.intervalMs),
    consistency: 'distributed', time: 'transparent', on_failure: applied.onFailure ?? 'continue', retries: applied.retries,
    max_pause: applied.maxPauseMs === undefined ? undefined : formatDuration(applied.maxPauseMs),
    next,
  })
  add(effective, 'retention', retentionAttributes(applied))
  const interval = attribute(parent, 'interval')
  if (interval !== undefined && applied.intervalMs !== undefined && parseDuration(interval.trim()) !== applied.intervalMs) {
    add(effective, 'note').addText(`interval raised to ${formatDuration(applied.intervalMs)}, the shortest that this aggregate allows`)
  }
  const keep = childrenOf(parent, violinNs, 'retention').map((one) => attribute(one, 'keep'))[0]
  if (keep !== undefined && Number(keep) !== applied.keep) add(effective, 'note').addText(`keep lowered to ${applied.keep}, the most that this aggregate keeps`)
}

function addSnapshot(parent: XmlElement, { id, name, parent: before, created, origin, bytes, members }: ManifestSnapshot): void {
  const snapshot = add(parent, 'snapshot', {
    id, name: name || undefined, parent: before || undefined, created, status: 'complete', origin,
    consistency: 'distributed', time: 'transparent', bytes,
  })
  for (const { clientId, sliverUrn, pauseMs } of members) {
    add(snapshot, 'member', {
      client_id: clientId, sliver_id: sliverUrn, status: 'complete', scope: 'full',
      pause_ms: pauseMs === undefined ? undefined : Math.ceil(pauseMs),
    })
  }
}
