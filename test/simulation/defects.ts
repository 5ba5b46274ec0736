// Deliberate defects of the product: each a small change of source, laid over one graph of modules by loader.js and gone with it. A
// simulation that does not find one of them is blind there (docs/simulation.md has the table).
import type { Change } from './product.js'

export interface Defect { name: string; what: string; changes: Change[] }

const one = (name: string, what: string, file: string, find: string, put: string): Defect => ({ name, what, changes: [{ file, find, put }] })

export const defects: Defect[] = [
  one('no-hold', 'a frame of a later epoch is delivered', 'overlay/colour.ts', "return 'hold' //", "return 'deliver' //"),
  one('no-record', 'a frame in transit is not recorded', 'overlay/colour.ts', "return 'deliver-and-record' //", "return 'deliver' //"),
  one('recorded-twice', 'a frame in transit is recorded twice', 'overlay/port.ts', `      log.add(this.id, waiting.frame)
    }
  }

  private markHeld`, `      log.add(this.id, waiting.frame)
      log.add(this.id, waiting.frame)
    }
  }

  private markHeld`),
  one('log-closed-early', 'what waits or flies when the log closes is not copied into it', 'overlay/slice-net.ts',
    'for (const port of this.ports()) port.copyWaiting(log)', ''),
  one('flip-before-stop', 'the ports turn to the new epoch while the VM still runs', 'hosts/cut-vm.ts',
    `    const { stoppedAt, witnesses } = await vm.stop()
    stamp()
    faultPoint('agent.cut.stopped')
    const { latches, bootId } = await switchLink.ask('cut', { ...ref, witnesses, putBack: coordinated && drained })
`, `    const { latches, bootId } = await switchLink.ask('cut', { ...ref, witnesses: await vm.witnesses(), putBack: coordinated && drained })
    const { stoppedAt } = await vm.stop()
    stamp()
`),
  one('no-gate', 'frames go on to the VM while it is being stopped', 'overlay/slice-net.ts', 'for (const port of this.ports(vm)) port.gated = true', ''),
  one('no-drain', 'the VM is stopped before it has read what was sent to it', 'hosts/cut-vm.ts', 'drained = gate.drained', 'drained = gate.drained || true'),
  one('no-drain-wait', 'the switch says at once that all is read', 'overlay/slice-net.ts', 'every((p) => p.link?.drained() ?? true)', 'every(() => true)'),
  one('no-put-back', 'what stop has thrown away is not put back', 'overlay/slice-net.ts', 'const back = waiting > 0 ? port.putBack(waiting) : 0', 'const back = 0 * waiting'),
  one('witness-ignored', 'the devices are never asked', 'overlay/slice-net.ts', "if (!device || !base) return 'none'", "if (!device || !base || device) return 'none'"),
  one('not-read-empty', 'ports turn before the sockets are read empty', 'overlay/slice-net.ts', 'every((p) => p.link?.emptied() ?? true)', 'every(() => true)'),
  one('no-thaw', 'gates stay closed after the cut', 'hosts/cut-vm.ts', "if (order.kind === 'live') await switchLink.ask('thaw', ref)", ''),
  one('abort-stays-behind', 'an abort leaves the ports in their epoch', 'overlay/slice-net.ts', 'if (port.epoch < target) this.raise(port, target)', ''),
  one('abort-not-told', 'a cut that is void leaves its gates and holds to the switch', 'hosts/cut-host.ts', "      await this.at.switchLink.ask('forward', this.ref)\n", ''),
  one('abort-keeps-parts', 'the parts of a cut that is void stay', 'snapshots/take.ts', `      await at.store.remove(request.slice.uuid, request.id)
      return { committed: false`, '      return { committed: false'),
  one('commit-before-seal', 'memory is taken for saved while it is being written', 'hosts/cut-host.ts', '    await vm.finishSave()\n', ''),
  one('outcome-not-synced', 'the outcome is told before its name is on disk', 'base/durable.ts', `    await rm(temporary, { force: true })
  }
  await syncFolder(dirname(path))
  return true`, `    await rm(temporary, { force: true })
  }
  return true`),
  one('inventory-after-outcome', 'the outcome does not wait for the inventory', 'snapshots/image-store.ts',
    "await writeDurably(join(folder, 'inventory.json'), bytes)", "void writeDurably(join(folder, 'inventory.json'), bytes)"),
  one('no-fsync', 'files are renamed before they are on disk', 'base/durable.ts', `    await handle.writeFile(content)
    await handle.sync()`, '    await handle.writeFile(content)'),
  one('layers-not-synced', 'frozen layers are not synced', 'hosts/layers.ts', '    await syncFile(path)\n', ''),
  one('outcome-overwritten', 'who comes second decides again', 'snapshots/image-store.ts', 'if (await writeOnce(path, JSON.stringify(record))) return record',
    'await writeDurably(path, JSON.stringify(record))'),
  one('token-not-checked', 'a worker that was replaced is obeyed', 'hosts/slice-marks.ts', 'if (token < marks.token) throw', 'if (token < 0) throw'),
  one('lock-not-fenced', 'an operation that was pre-empted still changes the slice', 'slices/slice-lock.ts',
    'slice?.operation?.id === operation.id && slice.token === operation.token', 'slice !== undefined && operation.token >= 0'),
  {
    name: 'epoch-used-again', what: 'nobody remembers the highest epoch', changes: [
      { file: 'snapshots/take.ts', find: 'const k = Math.max(maxima.k, request.epoch) + 1', put: 'const k = request.epoch + 1' },
      { file: 'hosts/participants.ts', find: 'if (ask.k <= highest) throw', put: 'if (ask.k <= -highest) throw' },
      { file: 'overlay/switch.ts', find: 'if (ask.k <= highest && !again) throw', put: 'if (ask.k <= -highest && !again) throw' },
    ],
  },
  {
    name: 'sealed-expires', what: 'a host that has sealed gives up by itself when no word comes (hole 4)', changes: [
      { file: 'snapshots/participant.ts', find: "if (phase === 'saved') return", put: "if (phase === 'sealed') return 300\n  if (phase === 'saved') return" },
      { file: 'snapshots/participant.ts', find: "['preparing', 'prepared', 'cutting', 'saved'].includes", put: "['preparing', 'prepared', 'cutting', 'saved', 'sealed'].includes" },
    ],
  },
  one('late-answer-accepted', 'work that has ended after it was given up counts', 'snapshots/participant.ts',
    'if (working[state.phase] !== work) return [state, []] // finished after it had been given up', ''),
  one('restart-forgets-window', 'a cut that is found open after a restart is left as it is', 'snapshots/participant.ts',
    "case 'none': case 'sealed': case 'done': case 'void': return [state, []]", "case 'none': case 'sealed': case 'done': case 'void': case 'cutting' as never: return [state, []]"),
  one('effects-before-journal', 'a step acts before it has written down', 'snapshots/runner.ts', `        if (next !== state) {
          await machine.journal(next)`, `        if (next !== state) {
          void machine.journal(next)`),
  one('suspended-resumed', 'a sealed suspension is let run by the next agent (hole 9)', 'hosts/vm-registry.ts',
    'if (this.at.mayStand(vm.instance.spec.vm) || await', 'if (await'),
  one('replay-missing', 'recorded frames are not replayed', 'overlay/switch.ts', 'if (mine.length > 0) port.replay(mine)', 'if (mine.length < 0) port.replay(mine)'),
  one('replay-out-of-order', 'recorded frames are replayed from the last to the first', 'overlay/switch.ts', 'if (mine.length > 0) port.replay(mine)',
    'if (mine.length > 0) port.replay(mine.reverse())'),
  one('replay-not-again', 'a switch restarted between READY and GO gets no frames again (hole 27)', 'hosts/restore-host.ts',
    'if (!known) await this.connect(order, vms)', 'if (!known && vms.length < 0) await this.connect(order, vms)'),
  one('replay-not-gated', 'recorded frames go to a VM that stands (hole 37)', 'overlay/switch.ts', '      port.gated = true // a VM', '      // a VM'),
  one('stop-not-undone', 'what stop has thrown away stays so when the cut is void before the flip (hole 41)', 'hosts/cut-host.ts',
    'await Promise.all(vms.map((vm) => this.putBackFor(vm)))', ''),
  one('dead-is-waited-for', 'a VM that died between READY and GO is waited for (hole 42)', 'hosts/restore-host.ts', 'if (vm.ended === undefined) throw error', 'throw error'),
  one('calibrates-in-cuts', 'a counting base is taken while a cut is open (hole 28)', 'hosts/vm-registry.ts',
    'return this.turns.run(beside(slice), work)', 'return work()'),
  one('decided-restore-dropped', 'an agent that is started again gives up a restore that was decided', 'hosts/restore-host.ts',
    "if (outcome === 'commit' && vms.length", "if (outcome === 'abort' && vms.length"),
  one('record-believed', 'the run in the record is taken for the one that lives (hole 35)', 'snapshots/take.ts',
    'maxima.current === undefined || maxima.current === noRun ? request.run : maxima.current', 'request.run'),
  one('restore-forgotten', 'a restore that could not be given up is forgotten (hole 36)', 'hosts/restore-host.ts',
    'if (restore) restore.givenUp = true', 'this.ready.delete(header.op)'),
  one('digests-not-verified', 'a part is loaded whatever it holds', 'hosts/restore-host.ts', 'if (digest !== part.digest) throw', 'if (digest === part.name) throw'),
  one('outcome-removed-last', 'a snapshot loses its parts before its outcome', 'snapshots/image-store.ts', `    await removeDurably(join(folder, 'outcome')).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    })
    await rm(folder`, `    for (const name of await readdir(folder).catch(() => [])) if (name !== 'outcome') await rm(join(folder, name), { force: true })
    await rm(folder`),
  one('layers-listed-last', 'layers are listed after it was asked which are needed (hole 30)', 'hosts/collapse.ts', `    if (participants.isCutting()) return // what`,
    `    files.splice(0, files.length, ...await layers.files())
    // what`),
  one('jobs-not-mended', 'a job that is lost stays lost', 'jobs/periodic.ts', "if (operation?.ended === '') await at.queue.add(operation)", "if (operation?.ended === '') continue"),
]
