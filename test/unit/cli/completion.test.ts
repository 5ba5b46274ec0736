import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { certsCommand } from '../../../cli/commands/certs.js'
import { completionCommand } from '../../../cli/commands/completion.js'
import { sliceCommand } from '../../../cli/commands/slice.js'
import { upCommand } from '../../../cli/commands/up.js'
import { completionScript } from '../../../cli/completion/scripts.js'
import { everyCommand, shapeOf } from '../../../cli/completion/tree.js'
import type { Surroundings } from '../../../cli/surroundings.js'
import { useTempFolder } from '../../temp.js'
import { fakeTools } from './slice-tools.js'

const { tools } = fakeTools('/state', () => { throw new Error('nobody is called') })
const violin: Command = new Command('violin').description("the user's").version('1')
  .addCommand(upCommand({ stateFolder: '/state' } as Surroundings)).addCommand(sliceCommand(tools)).addCommand(certsCommand({ defaultDir: '/f' }))
  .addCommand(completionCommand(() => violin))
const shape = shapeOf(violin)

describe('the completion of bash', () => {
  const folder = useTempFolder()
  beforeEach(() => {
    writeFileSync(join(folder(), 'completion'), completionScript('bash', shape))
    writeFileSync(join(folder(), 'two words.rspec'), '')
    mkdirSync(join(folder(), 'twilight'))
  })

  /** What bash offers after these words; the last one is being typed. */
  function offers(...words: string[]): string[] {
    const line = `source ./completion; COMP_WORDS=(violin "$@"); COMP_CWORD=$#; _violin; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['--norc', '-uc', line, 'bash', ...words], { encoding: 'utf8', cwd: folder() }).split('\n').filter((w) => w !== '').sort()
  }

  it('offers commands and subcommands', () => {
    assert.deepEqual(offers(''), ['certs', 'completion', 'slice', 'up'])
    assert.deepEqual(offers('s'), ['slice'])
    assert.deepEqual(offers('slice', 're'), ['renew', 'report', 'restart', 'resume'])
    assert.deepEqual(offers('slice', 'nonsense'), [])
  })

  it('offers the options of the command it is in, also after others', () => {
    assert.deepEqual(offers('slice', 'rollback', '--s'), ['--slice', '--snapshot-first', '--state'])
    assert.deepEqual(offers('slice', 'rollback', '--slice', 'list', '--snap'), ['--snapshot-first'])
    assert.deepEqual(offers('slice', 'list', '--snap'), [])
    assert.ok(offers('up', '--').includes('--public-url'))
    assert.deepEqual(offers('slice', 'ssh', 'a', '--', '-'), [])
  })

  it('offers values: choices, files and folders, with blanks in their names', () => {
    assert.deepEqual(offers('up', '--hypervisor', ''), ['qemu', 'simulated'])
    assert.deepEqual(offers('up', '--hypervisor', '=', 's'), ['simulated'])
    assert.deepEqual(offers('up', '--hypervisor', '='), ['qemu', 'simulated'])
    assert.deepEqual(offers('slice', 'list', '--key', 'tw'), ['twilight', 'two words.rspec'])
    assert.deepEqual(offers('slice', 'list', '--state', 'tw'), ['twilight'])
    assert.deepEqual(offers('completion', ''), ['bash', 'fish', 'zsh'])
  })

  it('offers a file where an argument is one, and nothing where only the user knows', () => {
    assert.deepEqual(offers('slice', 'create', 'tw'), [])
    assert.deepEqual(offers('slice', 'create', '--user', 'u', 'name', 'two'), ['two words.rspec'])
    assert.deepEqual(offers('slice', 'list', '--user', ''), [])
    assert.deepEqual(offers('slice', 'policy', 'two'), ['two words.rspec'])
  })
})

describe('the completion of other shells', () => {
  it('names every command and every option', () => {
    for (const shell of ['bash', 'zsh', 'fish'] as const) {
      const script = completionScript(shell, shape)
      for (const { path, options } of everyCommand(shape)) {
        assert.ok(script.includes(`'${path}`) || script.includes(`\\'${path}\\'`), `${shell}: ${path}`)
        for (const name of options.flatMap((o) => o.names).filter((n) => n.startsWith('--'))) assert.ok(script.includes(name.slice(2)), `${shell}: ${path} ${name}`)
      }
    }
  })

  it('has quotes in descriptions escaped', () => {
    const plain = completionScript('fish', shapeOf(new Command('violin').addCommand(new Command('x').description("a user's \\ and 'more'"))))
    assert.ok(plain.includes(String.raw`-a x -d 'a user\'s \\ and \'more\''`), plain)
  })

  it('is refused for a shell that is not known', async () => {
    const command = completionCommand(() => violin).exitOverride().configureOutput({ writeErr: () => undefined })
    await assert.rejects(command.parseAsync(['tcsh'], { from: 'user' }), /Allowed choices are bash, zsh, fish/)
  })
})
