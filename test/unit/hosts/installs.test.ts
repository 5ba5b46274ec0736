import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../../../base/errors.js'
import { fetchSource } from '../../../hosts/fetch.js'
import { changeConfigDisk, configDisk } from '../../../hosts/config-disk.js'
import { untar } from '../../../hosts/guest-config.js'
import { installFiles } from '../../../hosts/installs.js'
import type { VmSpec } from '../../../slices/vm-spec.js'
import { useTempFolder } from '../../temp.js'

const spec: VmSpec = {
  vm: 'v', slice: 's', clientId: 'a', memoryMiB: 128, cpus: 1, diskMiB: 64, image: 'i', nics: [], loginPort: 1, logins: [], neighbours: [], execute: [],
}

describe('a file that is fetched', () => {
  const folder = useTempFolder()
  const place = () => `file://${folder()}/files/`
  const source = (name: string) => ({ url: `${place()}${name}` })
  const fails = (work: Promise<unknown>, why: RegExp) => assert.rejects(work, (e: unknown) => e instanceof Failure && why.test(e.message))

  beforeEach(() => {
    mkdirSync(join(folder(), 'files'))
    writeFileSync(join(folder(), 'files/a.tar'), 'archive')
    writeFileSync(join(folder(), 'secret'), 'secret')
    symlinkSync(join(folder(), 'secret'), join(folder(), 'files/link.tar'))
  })

  it('comes whole, and only with the digest that was asked for', async () => {
    assert.equal((await fetchSource(source('a.tar'), [place()])).toString(), 'archive')
    const sha256 = createHash('sha256').update('archive').digest('hex')
    assert.equal((await fetchSource({ ...source('a.tar'), sha256 }, [place()])).toString(), 'archive')
    await fails(fetchSource({ ...source('a.tar'), sha256: '0'.repeat(64) }, [place()]), /a\.tar cannot be fetched: its digest is [0-9a-f]{64}, not the one asked for/)
  })

  it('is not one that a link leads to elsewhere, none that is too large, no folder and none that is not there', async () => {
    await fails(fetchSource(source('link.tar'), [place()]), /it leads out of its place/)
    await fails(fetchSource(source('a.tar'), ['https://h/']), /it leads out of its place/)
    await fails(fetchSource(source('a.tar'), [place()], { bytes: 6, ms: 100 }), /it is larger than 6 bytes/)
    await fails(fetchSource(source(''), [`file://${folder()}/`]), /it is no file/)
    await fails(fetchSource(source('none.tar'), [place()]), /none\.tar cannot be fetched: ENOENT/)
  })

  it('stands in the configuration disk of a VM with the folder that it goes to, also when its accounts change before it boots', async () => {
    const asked: VmSpec = { ...spec, install: [{ ...source('a.tar'), path: '/opt/x' }] }
    const disk = join(folder(), 'disk')
    writeFileSync(disk, configDisk(asked, await installFiles(asked, [place()])))
    const stands = () => {
      const files = untar(readFileSync(disk))
      assert.equal(files['install/00.path']?.toString(), '/opt/x\n')
      assert.equal(files['install/00.tar']?.toString(), 'archive')
      return files
    }
    assert.ok(!('users/bob/authorized_keys' in stands()))
    await changeConfigDisk(disk, { ...asked, logins: [{ name: 'bob', urn: 'urn:publicid:IDN+x+user+bob', keys: ['ssh-ed25519 AAAA'] }] })
    assert.equal(stands()['users/bob/authorized_keys']?.toString(), 'ssh-ed25519 AAAA\n')
  })

  it('is named when it cannot be had; who asks for none has none', async () => {
    await fails(installFiles({ ...spec, install: [{ ...source('no.tar'), path: '/opt/x' }] }, [place()]), /no\.tar cannot be fetched/)
    assert.deepEqual(await installFiles(spec), {})
  })
})
