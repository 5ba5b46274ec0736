import assert from 'node:assert/strict'
import { limits } from '../../../base/limits.js'
import { grantedExpiry, latestExpiry } from '../../../slices/lease.js'
import { noon } from '../../a-slice.js'

const far = noon + 365 * 24 * 3600_000

describe('a lease', () => {
  it('never outlives the credential', () => {
    const credentialExpires = noon + 60_000
    for (const allocation of ['geni_allocated', 'geni_provisioned'] as const) {
      assert.equal(latestExpiry({ now: noon, credentialExpires, allocation }), credentialExpires)
      assert.equal(grantedExpiry({ now: noon, credentialExpires, allocation }, far), credentialExpires)
    }
  })

  it('of what is only allocated is short, of what is provisioned long', () => {
    assert.equal(latestExpiry({ now: noon, credentialExpires: far, allocation: 'geni_allocated' }), noon + limits.allocatedLifeMs)
    assert.equal(latestExpiry({ now: noon, credentialExpires: far, allocation: 'geni_provisioned' }), noon + limits.provisionedLifeMs)
  })

  it('is as long as was asked for where that is less, and as long as may be where nothing was asked for', () => {
    const bounds = { now: noon, credentialExpires: far, allocation: 'geni_provisioned' as const }
    assert.equal(grantedExpiry(bounds, noon + 5000), noon + 5000)
    assert.equal(grantedExpiry(bounds, undefined), latestExpiry(bounds))
  })
})
