import assert from 'node:assert/strict'
import { join } from 'node:path'
import { maxFrameBytes } from '../../../overlay/frame.js'
import { VmLink } from '../../../overlay/vm-link.js'
import { useTempFolder } from '../../temp.js'
import { FakeQemu, framed, soon } from './fake-qemu.js'

describe('the link to a VM', () => {
  const folder = useTempFolder()
  let qemu: FakeQemu
  let link: VmLink
  let got: Buffer[]
  let readies: number

  beforeEach(async () => {
    got = []
    readies = 0
    qemu = new FakeQemu(join(folder(), 'nic'))
    await qemu.listen()
    link = new VmLink(qemu.path, { onFrame: (bytes) => got.push(bytes), onReady: () => readies++ })
    await soon('it connects', () => link.connected && qemu.socket !== undefined)
  })
  afterEach(async () => {
    link.close()
    await qemu.die()
  })

  it('says that it is ready once it is connected', () => {
    assert.deepEqual([link.ready, readies], [true, 1])
  })

  it('makes frames of bytes that come in any pieces', async () => {
    const frames = [Buffer.from('one'), Buffer.alloc(0), Buffer.alloc(9_000, 7), Buffer.from('last')]
    const bytes = framed(...frames)
    for (const [from, to] of [[0, 2], [2, 5], [5, 6], [6, 4_000], [4_000, bytes.length]] as const) {
      await qemu.write(bytes.subarray(from, to))
      if (to === 5) await soon('it has read the pieces', () => !link.emptied())
    }
    await soon('all frames come', () => got.length === 4)
    assert.deepEqual(got, frames)
  })

  it('keeps frames apart that come in one piece, also when the buffer they came in is used again', async () => {
    const frames = Array.from({ length: 2_000 }, (_, i) => Buffer.from(`frame ${i}`.padEnd(100)))
    await qemu.write(framed(...frames))
    await soon('all frames come', () => got.length === frames.length)
    assert.deepEqual(got, frames)
  })

  it('is not read empty while half a frame is there', async () => {
    await qemu.write(Buffer.from([0, 0, 0, 9, 1]))
    await soon('half a frame is not empty', () => !link.emptied())
    await qemu.write(Buffer.alloc(8))
    await soon('a whole one is', () => link.emptied() && got.length === 1)
  })

  it('sends frames behind their length, and is drained only when the VM has read them', async () => {
    qemu.socket!.pause()
    link.send(Buffer.from('xxxxxxxxxxxxxxone'))
    link.send(Buffer.from('xxxxxxxxxxxxxxtwo'))
    assert.equal(link.drained(), false)
    qemu.socket!.resume()
    await soon('it drains', () => link.drained() && qemu.got.length === 2)
    assert.deepEqual(qemu.texts, ['one', 'two'])
  })

  it('is not ready while the VM does not take what was sent, and says when it is again', async () => {
    qemu.socket!.pause()
    for (let i = 0; i < 10_000 && link.ready; i++) link.send(Buffer.alloc(60_000))
    assert.equal(link.ready, false)
    const before = readies
    qemu.socket!.resume()
    await soon('it is ready again', () => link.ready && readies > before)
  })

  it('connects again when its QEMU is there again, without the half frame of the one before', async () => {
    await qemu.write(Buffer.from([0, 0, 0, 9, 1]))
    await soon('the half frame was read', () => !link.emptied())
    await qemu.die()
    await soon('the loss is seen', () => !link.connected)
    assert.deepEqual([link.ready, link.drained(), link.emptied()], [false, true, true])
    await qemu.listen()
    await soon('it connects again', () => link.connected && qemu.socket !== undefined)
    await qemu.write(framed(Buffer.from('fresh')))
    await soon('frames come', () => got.length === 1)
    assert.deepEqual([got[0]!.toString(), readies], ['fresh', 2])
  })

  it('breaks off when the length is no frame\'s: what follows cannot be trusted', async () => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(maxFrameBytes + 1)
    await qemu.write(length)
    await soon('it connects anew', () => qemu.connections === 2)
    assert.deepEqual(got, [])
  })

  it('does not connect again once it is closed', async () => {
    link.close()
    await soon('it goes', () => !link.connected)
    const other = new VmLink(qemu.path, { onFrame: () => undefined, onReady: () => undefined })
    await soon('another one comes', () => other.connected)
    other.close()
    assert.equal(qemu.connections, 2)
  })
})
