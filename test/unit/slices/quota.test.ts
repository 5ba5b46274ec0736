import assert from 'node:assert/strict'
import { allocationObjection, parseQuotas, standardQuotas, type Quotas } from '../../../slices/quota.js'
import { aliceUrn, aSlice, aSliver } from '../../a-slice.js'

const bobUrn = aliceUrn.replace('alice', 'bob')
const [one, two] = [aSlice('one'), aSlice('two')] // two VMs of 128 MiB in each
const ask = (vms: number, more = {}) => ({ sliceUrn: one.urn, creator: aliceUrn, vms, memoryMiB: vms * 128, ...more })
const objection = (quotas: Quotas, asked = ask(1), slices = [one, two]) => allocationObjection(quotas, slices, asked)

describe('quotas as the operator writes them', () => {
  it('are laid over the standard ones, in counts, MiB and bytes', () => {
    assert.deepEqual(parseQuotas('slice-memory=512,user-memory=8G,user-snapshots-bytes=20G, user-slices=3'),
      { 'slice-vms': 64, 'user-images': 32, 'slice-memory': 512, 'user-memory': 8192, 'user-snapshots-bytes': 20 * 2 ** 30, 'user-slices': 3 })
    assert.deepEqual(parseQuotas('slice-vms=none,user-vms=4', { ...standardQuotas, 'user-vms': 9 }), { 'user-images': 32, 'user-vms': 4 })
  })

  it('that are none are refused with the keys that there are, or the form of the value', () => {
    for (const [text, sentence] of [
      ['vms=3', /no quota vms; .*slice-vms.*user-slices/], ['slice-vms', /"slice-vms" is not KEY=VALUE/], ['', /"" is not KEY=VALUE/],
      ['user-vms=0', /a count from 1 up/], ['user-vms=2G', /a count from 1 up/], ['slice-memory=1K', /whole MiB/],
      ['user-snapshots-bytes=lots', /500M, 20G or 1T/], ['__proto__=1', /KEY=VALUE/], ['slice-vms=1,,', /KEY=VALUE/],
    ] as const) assert.throws(() => parseQuotas(text), { code: 'bad-arguments', message: sentence })
  })
})

describe('the quotas of an Allocate', () => {
  it('are none but the size of a slice where nothing is set', () => {
    const many = Array.from({ length: 30 }, (_, i) => aSlice(`s${i}`))
    assert.equal(objection(standardQuotas, ask(62), many.concat(one)), undefined)
    assert.match(objection(standardQuotas, ask(63))!, /^quota slice-vms: the slice has 2 VMs of at most 64 VMs, and 63 VMs more are asked for: /)
    assert.equal(objection({}, ask(1000)), undefined)
  })

  it('count what is there with what is asked, and let through exactly as much as fits', () => {
    const exact: [Quotas, number][] = [
      [{ 'slice-vms': 5 }, 3], [{ 'slice-memory': 5 * 128 }, 3], [{ 'user-vms': 7 }, 3], [{ 'user-memory': 7 * 128 }, 3],
    ]
    for (const [quotas, fits] of exact) {
      assert.equal(objection(quotas, ask(fits)), undefined)
      assert.match(objection(quotas, ask(fits + 1))!, new RegExp(`^quota ${Object.keys(quotas)[0]!}: `))
    }
  })

  it('of slices count a new one, and not one that has VMs already', () => {
    const third = aSlice('three').urn
    assert.equal(objection({ 'user-slices': 2 }, ask(1)), undefined)
    assert.match(objection({ 'user-slices': 2 }, ask(1, { sliceUrn: third }))!, /alice has 2 slices of at most 2 slices, and 1 slice more is asked for/)
    assert.equal(objection({ 'user-slices': 2 }, ask(1, { sliceUrn: third }), [one, aSlice('empty', { slivers: [] })]), undefined)
  })

  it('of one user are not used up by another, whatever the case of letters', () => {
    const ofBob = aSlice('bobs', { creator: bobUrn })
    assert.equal(objection({ 'user-vms': 3 }, ask(3, { creator: bobUrn, sliceUrn: aSlice('new').urn }), [one, two]), undefined)
    assert.match(objection({ 'user-vms': 3 }, ask(2, { creator: bobUrn.toUpperCase(), sliceUrn: ofBob.urn }), [ofBob])!, /quota user-vms/)
  })

  it('say that what is being deleted will soon be free', () => {
    const leaving = aSlice('one', { slivers: [aSliver('a', { allocation: 'geni_unallocated' }), aSliver('b')] })
    assert.match(objection({ 'slice-vms': 2 }, ask(1), [leaving])!, /1 slivers are being deleted: try again/)
  })
})
