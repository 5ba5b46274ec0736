// Deliberate defects of the product: each a small change of source, laid over one graph of modules by loader.js and gone with it. A
// simulation that does not find one of them is blind there (docs/simulation.md has the table). Where another part of the product makes
// up for a defect, it is taken away too: what is asked is whether the promise is watched.
import type { Change } from './product.js'

export interface Defect {
  name: string
  what: string
  changes: Change[]
  /** Seeds, from 1 on, in which it must be found. */
  within: number
  /** It shows under one rare fault only: a story of scenarios/ is told in each seed, in place of a life at random. */
  scenario?: string
}

const several = (name: string, what: string, within: number, changes: Change[], scenario?: string): Defect =>
  ({ name, what, changes, within, ...(scenario !== undefined ? { scenario } : {}) })
const one = (name: string, what: string, within: number, [file, find, put]: [string, string, string], scenario?: string): Defect =>
  several(name, what, within, [{ file, find, put }], scenario)

export const defects: Defect[] = [
  one('no-hold', 'a frame of a later epoch is delivered', 20, ['overlay/colour.ts', "return 'hold' //", "return 'deliver' //"]),
  one('no-record', 'a frame in transit is not recorded', 10, ['overlay/colour.ts', "return 'deliver-and-record' //", "return 'deliver' //"]),
  one('recorded-twice', 'a frame in transit is recorded twice', 10, ['overlay/port.ts', `      log.add(this.id, waiting.frame)
    }
  }

  private markHeld`, `      log.add(this.id, waiting.frame)
      log.add(this.id, waiting.frame)
    }
  }

  private markHeld`]),
  one('log-closed-early', 'what waits or flies when the log closes is not copied into it', 20, [
    'overlay/slice-net.ts', 'for (const port of this.ports()) port.copyWaiting(log)', '',
  ]),
  one('flip-before-stop', 'the ports turn to the new epoch while the VM still runs', 10, [
    'hosts/cut-vm.ts', `    const { stoppedAt, witnesses } = await vm.stop()
    stamp()
    faultPoint('agent.cut.stopped')
    const { latches, bootId } = await switchLink.ask('cut', { ...ref, witnesses, putBack: coordinated && drained })
`, `    const { latches, bootId } = await switchLink.ask('cut', { ...ref, witnesses: await vm.witnesses(), putBack: coordinated && drained })
    const { stoppedAt } = await vm.stop()
    stamp()
`,
  ]),
  one('no-gate', 'frames go on to the VM while it is being stopped', 15, [
    'overlay/slice-net.ts', 'for (const port of this.ports(vm)) port.gated = true', '',
  ]),
  one('no-drain', 'the VM is stopped before it has read what was sent to it', 10, [
    'hosts/cut-vm.ts', 'drained = gate.drained', 'drained = gate.drained || true',
  ], 'guest-never-drains'),
  one('no-drain-wait', 'the switch says at once that all is read', 50, [
    'overlay/slice-net.ts', 'every((p) => p.link?.drained() ?? true)', 'every(() => true)',
  ]),
  one('no-put-back', 'what stop has thrown away is not put back', 30, [
    'overlay/slice-net.ts', 'const back = waiting > 0 ? port.putBack(waiting) : 0', 'const back = 0 * waiting',
  ]),
  one('witness-ignored', 'the devices are never asked', 30, [
    'overlay/slice-net.ts', "if (!device || !base) return 'none'", "if (!device || !base || device) return 'none'",
  ]),
  one('not-read-empty', 'ports turn before the sockets are read empty', 30, [
    'overlay/slice-net.ts', 'every((p) => p.link?.emptied() ?? true)', 'every(() => true)',
  ]),
  one('no-thaw', 'gates stay closed after the cut', 10, ['hosts/cut-vm.ts', "if (order.kind === 'live') await switchLink.ask('thaw', ref)", '']),
  one('abort-stays-behind', 'an abort leaves the ports in their epoch', 20, [
    'overlay/slice-net.ts', 'if (port.epoch < target) this.raise(port, target)', '',
  ], 'void-cut-releases-what-it-held'),
  several('abort-not-told', 'a cut that is void leaves its gates and holds to the switch, which does not help itself either', 10, [
    { file: 'hosts/cut-host.ts', find: "      await this.at.switchLink.ask('forward', this.ref)\n", put: '' },
    { file: 'overlay/switch.ts', find: 'if (now - since < limits.holdMs && !full) continue', put: 'if (!full) continue' },
  ], 'void-cut-releases-what-it-held'),
  several('abort-keeps-parts', 'the folder of a cut that is void stays, and nobody looks for it later', 15, [
    { file: 'snapshots/take.ts', find: `      await at.store.remove(request.slice.uuid, request.id)
      return { committed: false`, put: '      return { committed: false' },
    { file: 'snapshots/open.ts', find: "if (outcome === 'abort') await store.remove(slice, id)", put: '' },
  ]),
  one('commit-before-seal', 'memory is taken for saved while it is being written', 10, [
    'hosts/cut-host.ts', 'const { savedAt } = await vm.finishSave()', 'const savedAt = undefined as number | undefined',
  ]),
  one('outcome-not-synced', 'the outcome is told before its name is on disk', 100, ['base/durable.ts', `    await rm(temporary, { force: true })
  }
  await syncFolder(dirname(path))
  return true`, `    await rm(temporary, { force: true })
  }
  return true`]),
  one('inventory-after-outcome', 'the outcome does not wait for the inventory', 20, [
    'snapshots/image-store.ts', "await writeDurably(join(folder, 'inventory.json'), bytes)", "void writeDurably(join(folder, 'inventory.json'), bytes)",
  ]),
  one('no-fsync', 'files are renamed before they are on disk', 10, ['base/durable.ts', `    await handle.writeFile(content)
    await handle.sync()`, '    await handle.writeFile(content)']),
  one('layers-not-synced', 'frozen layers are not synced', 10, ['hosts/layers.ts', '    await syncFile(path)\n', '']),
  one('outcome-overwritten', 'who comes second decides again', 10, [
    'snapshots/image-store.ts', 'if (await writeOnce(path, JSON.stringify(record))) return record', 'await writeDurably(path, JSON.stringify(record))',
  ], 'hole-12-agent-dies-in-a-restore-old-ended'),
  one('token-not-checked', 'a worker that was replaced is obeyed', 10, [
    'hosts/slice-marks.ts', 'if (token < marks.token) throw', 'if (token < 0) throw',
  ], 'stale-worker-is-refused'),
  one('lock-not-fenced', 'an operation that was pre-empted still changes the slice', 10, [
    'slices/slice-lock.ts', 'slice?.operation?.id === operation.id && slice.token === operation.token', 'slice !== undefined && operation.token >= 0',
  ], 'policy-snapshot-gives-way'),
  several('epoch-used-again', 'nobody remembers the highest epoch', 50, [
    { file: 'snapshots/take.ts', find: 'const k = Math.max(maxima.k, request.epoch) + 1', put: 'const k = request.epoch + 1' },
    { file: 'hosts/participants.ts', find: 'if (ask.k <= highest) throw', put: 'if (ask.k <= -highest) throw' },
    { file: 'overlay/switch.ts', find: 'if (ask.k <= highest && !again) throw', put: 'if (ask.k <= -highest && !again) throw' },
  ]),
  several('sealed-expires', 'a host that has sealed gives up by itself when no word comes (hole 4)', 100, [
    { file: 'snapshots/participant.ts', find: "if (phase === 'saved') return", put: "if (phase === 'sealed') return 300\n  if (phase === 'saved') return" },
    {
      file: 'snapshots/participant.ts',
      find: "['preparing', 'prepared', 'cutting', 'saved'].includes",
      put: "['preparing', 'prepared', 'cutting', 'saved', 'sealed'].includes",
    },
  ]),
  several('late-answer-accepted', 'work that ends after it was given up counts, and is answered', 10, [
    { file: 'snapshots/participant.ts', find: 'if (working[state.phase] !== work) return [state, []] // finished after it had been given up', put: '' },
    { file: 'snapshots/participant.ts', find: "    ...(ask && ask !== 'tell' ? [{ do: 'refuse' as const, ask, why }] : []),\n", put: '' },
  ], 'disk-full-while-sealing'),
  one('restart-forgets-window', 'a cut that is found open after a restart is left as it is', 100, [
    'snapshots/participant.ts',
    "case 'none': case 'sealed': case 'done': case 'void': return [state, []]",
    "case 'none': case 'sealed': case 'done': case 'void': case 'cutting' as never: return [state, []]",
  ]),
  one('effects-before-journal', 'a step acts before it has written down', 10, ['snapshots/runner.ts', `        if (next !== state) {
          await machine.journal(next)`, `        if (next !== state) {
          void machine.journal(next)`]),
  one('suspended-resumed', 'a sealed suspension is let run by the next agent (hole 9)', 10, [
    'hosts/vm-registry.ts', 'if (this.at.mayStand(vm.instance.spec.vm) || await', 'if (await',
  ], 'hole-09-sealed-suspension-is-not-resumed'),
  one('replay-missing', 'recorded frames are not replayed', 15, [
    'overlay/switch.ts', 'port.replay(logged.filter((f) => f.to === port.id)', 'port.replay(logged.filter(() => false)',
  ]),
  one('replay-out-of-order', 'recorded frames are replayed from the last to the first', 15, [
    'overlay/switch.ts', 'port.replay(logged.filter((f) => f.to === port.id)', 'port.replay(logged.filter((f) => f.to === port.id).reverse()',
  ]),
  one('replay-not-again', 'a switch restarted between READY and GO gets no frames again (hole 27)', 10, [
    'hosts/restore-host.ts', 'await this.connect(order, vms, ran)', '',
  ], 'hole-27-switch-dies-between-ready-and-go'),
  several('replay-not-gated', 'recorded frames go to a VM that stands (hole 37)', 30, [
    { file: 'overlay/switch.ts', find: '      port.gated = true // a VM', put: '      // a VM' },
    { file: 'hosts/restore-host.ts', find: 'seq: p.seq, gated: true,', put: 'seq: p.seq,' },
  ], 'hole-27-switch-dies-between-ready-and-go'),
  one('stop-not-undone', 'what stop has thrown away stays so when the cut is void before the flip (hole 41)', 40, [
    'hosts/cut-host.ts', 'await this.whileWeSeeToIt(Promise.all(vms.map((vm) => this.putBackFor(vm))))', '',
  ], 'hole-05-agent-dies-when-stopped'),
  one('dead-is-waited-for', 'a VM that died between READY and GO is waited for (hole 42)', 10, [
    'hosts/restore-host.ts', 'if (vm.ended === undefined) throw error', 'throw error',
  ], 'hole-42-dies-between-ready-and-go'),
  one('calibrates-in-cuts', 'a counting base is taken while a cut is open (hole 28)', 60, [
    'hosts/vm-registry.ts', 'return this.turns.run(beside(slice), work)', 'return work()',
  ], 'hole-28-calibration-beside-a-cut'),
  one('decided-restore-dropped', 'an agent that is started again gives up a restore that was decided', 10, [
    'hosts/restore-host.ts', "if (outcome === 'commit') await this.go(order)", "if (outcome === 'commit' && vms.length < 0) await this.go(order)",
  ], 'hole-12-agent-dies-in-a-restore-old-ended'),
  one('record-believed', 'the run in the record is taken for the one that lives (hole 35)', 10, [
    'snapshots/take.ts', 'maxima.current === undefined || maxima.current === noRun ? request.run : maxima.current', 'request.run',
  ], 'hole-35-decided-and-not-heard-of'),
  one('restore-forgotten', 'a restore that could not be given up is forgotten (hole 36)', 100, [
    'hosts/restore-host.ts', 'if (restore) restore.givenUp = true', 'this.ready.delete(header.op)',
  ]),
  one('digests-not-verified', 'a part is loaded whatever it holds', 10, [
    'hosts/restore-journal.ts', 'if (digest !== part.digest) throw', 'if (digest === part.name) throw',
  ], 'hole-13-damaged-part-costs-nothing'),
  one('outcome-removed-last', 'a snapshot is emptied where it lies, its outcome last', 10, [
    'snapshots/image-store.ts', `    try {
      await rename(folder, away)
    } catch (error) {`, `    for (const name of await readdir(folder).catch(() => [])) if (name !== 'outcome') await rm(join(folder, name), { force: true })
    try {
      await rename(folder, away)
    } catch (error) {`,
  ], 'worker-dies-while-it-removes'),
  one('layers-listed-last', 'layers are listed after it was asked which are needed (hole 30)', 10, [
    'hosts/collapse.ts', `    if (participants.isCutting()) return // what`, `    files.splice(0, files.length, ...await layers.files())
    // what`,
  ], 'snapshot-beside-merging'),
  one('jobs-not-mended', 'a job that is lost stays lost', 10, [
    'jobs/periodic.ts', "if (operation?.ended === '') await at.queue.add(operation)", "if (operation?.ended === '') continue",
  ], 'job-is-lost'),
]
