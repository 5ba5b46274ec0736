// `violin slice`: everything that a user does with a slice, one small file for each group of commands in cli/slice/.
import { Command } from 'commander'
import { createCommand, deleteCommand, renewCommand } from '../slice/life.js'
import { policyCommand } from '../slice/policy.js'
import { powerCommands } from '../slice/power.js'
import { deleteSnapshotCommand, listCommand, reportCommand, resumeCommand, rollbackCommand, snapshotCommand, suspendCommand } from '../slice/snapshots.js'
import { sshCommand } from '../slice/ssh.js'
import { consoleCommand, eventsCommand, statusCommand } from '../slice/telling.js'
import type { SliceTools } from '../slice/tools.js'

export function sliceCommand(tools: SliceTools): Command {
  const slice = new Command('slice')
    .description('make a slice, snapshot it, roll it back, log in: everything that a user does')
    .addHelpText('after', `
With "violin up" running on this machine nothing else needs to be said: the first create makes user and credential.

Example:
  violin slice create myslice examples/two-nodes.rspec
  violin slice snapshot --name before
  violin slice rollback before`)
  const commands = [
    createCommand(tools), statusCommand(tools), listCommand(tools), reportCommand(tools), snapshotCommand(tools), suspendCommand(tools), resumeCommand(tools),
    rollbackCommand(tools), deleteSnapshotCommand(tools), policyCommand(tools), ...powerCommands(tools), renewCommand(tools), deleteCommand(tools),
    eventsCommand(tools), consoleCommand(tools), sshCommand(tools),
  ]
  for (const command of commands) slice.addCommand(command)
  return slice
}
