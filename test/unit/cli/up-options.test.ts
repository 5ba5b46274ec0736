import assert from 'node:assert/strict'
import { parseMetrics } from '../../../cli/commands/up.js'

describe('the options of up', () => {
  it('--metrics takes a port of this machine, or an address', () => {
    assert.deepEqual(parseMetrics('9464'), { host: '127.0.0.1', port: 9464 })
    assert.deepEqual(parseMetrics('10.0.0.5:9464'), { host: '10.0.0.5', port: 9464 })
    assert.deepEqual(parseMetrics('[::1]:9464'), { host: '::1', port: 9464 })
  })

  for (const wrong of ['', '0', 'metrics', '70000', 'host:', ':9464', '127.0.0.1:0', '-1']) {
    it(`--metrics refuses "${wrong}"`, () => assert.throws(() => parseMetrics(wrong), { code: 'commander.invalidArgument' }))
  }
})
