// `violin doctor`: what this machine can do, what is missing, and the command that mends it.
import { Command } from 'commander'
import { diagnose } from '../doctor/diagnosis.js'
import { gatherFacts } from '../doctor/facts.js'
import type { Surroundings } from '../surroundings.js'

export function doctorCommand(at: Surroundings): Command {
  return new Command('doctor')
    .description('what this machine can do, what is missing, and the command that mends it; changes nothing')
    .option('--state <dir>', 'the state folder that `up` would use', at.stateFolder)
    .option('--json', 'one JSON object')
    .addHelpText('after', '\nExit 0: real VMs can run here. 1: simulated ones at most.')
    .action((flags: { state: string; json?: boolean }) => {
      const diagnosis = diagnose(gatherFacts({ stateFolder: flags.state, imageFolder: at.imageFolder, env: at.env }))
      process.exitCode = diagnosis.real === 'no' ? 1 : 0
      if (flags.json) {
        process.stdout.write(`${JSON.stringify(diagnosis)}\n`)
        return
      }
      for (const { what, ok, says, mend } of diagnosis.findings) {
        process.stdout.write(`${ok ? 'ok     ' : 'missing'} ${what.padEnd(20)} ${says}\n`)
        if (mend !== undefined) process.stdout.write(`${' '.repeat(29)}${mend}\n`)
      }
      process.stdout.write(`\n${diagnosis.verdict}\n`)
    })
}
