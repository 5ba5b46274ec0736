import assert from 'node:assert/strict'
import { parseSize, shownSize } from '../../../base/sizes.js'

describe('an amount of bytes', () => {
  it('is read with and without a suffix, and nothing else is taken for one', () => {
    assert.deepEqual(['7', '7K', '7m', '7 ', '2GiB', '1T', '0'].map((text) => parseSize(text)), [7, 7168, 7 * 2 ** 20, 7, 2 ** 31, 2 ** 40, 0])
    assert.equal(parseSize('512', 2 ** 20), 2 ** 29)
    for (const bad of ['', '-1', '1.5G', 'G', '1P', '1e3', '999999999999999T', '0x10', '1 G']) assert.equal(parseSize(bad), undefined, bad)
  })

  it('is shown never larger than it is', () => {
    assert.deepEqual([0, 1023, 1024, 1536, 2 ** 30 - 1, 5.96 * 2 ** 30].map(shownSize), ['0 bytes', '1023 bytes', '1 KiB', '1.5 KiB', '1023.9 MiB', '5.9 GiB'])
  })
})
