// The repository's own rules, checked by reading it: the import ladder, file and function length, banned words.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const ladder = ['base', 'rspec certs overlay', 'slices', 'snapshots', 'jobs', 'hosts am-plugin', 'cli web', 'bench test'].map((r) => r.split(' '))
const rung = (folder: string) => ladder.findIndex((r) => r.includes(folder))

function wrongImports(file: string, source: string): string[] {
  const from = file.split('/')[0]!
  return [...source.matchAll(/from '((?:\.\.\/)+)([a-z-]+)\//g)]
    .filter((m) => m[1]!.length / 3 === file.split('/').length - 1) // as many steps up as the file is deep: out of its folder
    .map((m) => m[2]!)
    .filter((to) => rung(to) >= 0 && to !== from && rung(to) >= rung(from))
    .filter((to) => !(from === 'cli' && to === 'am-plugin'))
    .map((to) => `${file} imports ${to}: ${from} may only import folders below it`)
}

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' }).trim().split('\n')
const sources = files.filter((f) => f.endsWith('.ts')).map((file) => ({ file, text: readFileSync(file, 'utf8') }))
const product = sources.filter(({ file }) => rung(file.split('/')[0]!) >= 0 && !file.startsWith('test/'))

describe('the repository', () => {
  it('imports only downwards on the ladder', () => {
    assert.ok(product.length > 50)
    assert.deepEqual(product.flatMap(({ file, text }) => wrongImports(file, text)), [])
  })

  it('tells a wrong import when it sees one', () => {
    assert.equal(wrongImports('base/a.ts', "import { x } from '../slices/slice.js'").length, 1)
    assert.equal(wrongImports('slices/a.ts', "import { x } from '../base/errors.js'").length, 0)
  })

  it('has no file over 400 lines and no line over 160 columns', () => {
    const long = product.filter(({ text }) => text.split('\n').length > 400).map(({ file }) => file)
    const wide = product.flatMap(({ file, text }) => text.split('\n').flatMap((line, i) => (line.length > 160 ? [`${file}:${i + 1}`] : [])))
    assert.deepEqual({ long, wide }, { long: [], wide: [] })
  })

  it('begins every file of the product with why it exists', () => {
    assert.deepEqual(product.filter(({ text }) => !/^(#!.*\n)?\s*(\/\/|\/\*\*)/.test(text)).map(({ file }) => file), [])
  })

  it('reads the environment and leaves the process only in a main.ts', () => {
    const guilty = product.filter(({ file, text }) => !file.endsWith('main.ts') && !file.startsWith('bench/') && /process\.env\b|process\.exit\(/.test(text))
    assert.deepEqual(guilty.map(({ file }) => file), [])
  })

  it('says nothing that is to be done some day', () => {
    assert.deepEqual(product.filter(({ text }) => /\b(TODO|FIXME|XXX)\b/.test(text)).map(({ file }) => file), [])
  })

  it('keeps to kebab-case in file names and to named exports', () => {
    const badNames = sources.map(({ file }) => file).filter((f) => !/^[a-z0-9./-]+$/.test(f))
    const defaults = product.filter(({ text }) => /^export default/m.test(text)).map(({ file }) => file)
    assert.deepEqual({ badNames, defaults }, { badNames: [], defaults: [] })
  })
})
