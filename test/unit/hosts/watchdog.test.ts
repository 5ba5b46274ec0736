import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import fc from 'fast-check'
import { silentLog } from '../../../base/log.js'
import { realClock, until } from '../../../base/time.js'
import type { Vm } from '../../../hosts/hypervisor/hypervisor.js'
import { greet, type Greeting } from '../../../hosts/ready.js'
import { Silence, Watchdog, type Seen } from '../../../hosts/watchdog.js'
import { MemoryVm } from '../../fakes/memory-hypervisor.js'

describe('the silence of a guest', () => {
  /** Looks, each so many ms after the one before. The number of the look that says it has hung. */
  function hungAt(looks: [after: number, seen: Seen][]): number | undefined {
    const silence = new Silence(6_000, 2_000)
    let now = 1_000_000
    for (const [i, [after, seen]] of looks.entries()) {
      now += after
      if (silence.look(now, seen)) return i
    }
    return undefined
  }
  const nothing: [number, Seen] = [2_000, 'nothing']

  it('is a hang once it has lasted the whole time, and not before', () => {
    assert.equal(hungAt([nothing, nothing, nothing, nothing]), 3)
    assert.equal(hungAt([nothing, nothing, nothing, [1_999, 'nothing']]), undefined)
  })

  it('begins anew with every answer and every excuse', () => {
    const four = [nothing, nothing, nothing, nothing] as const
    assert.equal(hungAt([nothing, nothing, nothing, [2_000, 'answer'], nothing, nothing]), undefined)
    assert.equal(hungAt([nothing, nothing, nothing, [2_000, 'answer'], ...four]), 6)
    assert.equal(hungAt([nothing, nothing, nothing, [2_000, 'excuse'], ...four]), 7, 'an excuse lasts until some time after the look that saw it')
  })

  it('does not count the time of a look that came too late, nor what was before it', () => {
    assert.equal(hungAt([nothing, [3_600_000, 'nothing'], nothing, nothing]), undefined)
    assert.equal(hungAt([nothing, nothing, nothing, [4_001, 'nothing'], nothing, nothing]), undefined)
    assert.equal(hungAt([nothing, nothing, nothing, [4_001, 'nothing'], nothing, nothing, nothing]), 6)
    assert.equal(hungAt([nothing, [4_000, 'nothing'], nothing]), 2, 'a little late is not too late')
  })

  it('is never a hang of a guest that has answered within the time, whenever the looks come', () => {
    const looks = fc.array(fc.tuple(fc.integer({ min: 1, max: 10_000 }), fc.constantFrom<Seen>('nothing', 'nothing', 'nothing', 'answer', 'excuse')), { maxLength: 40 })
    fc.assert(fc.property(looks, (all) => {
      const at = hungAt(all)
      if (at === undefined) return
      const seenAt = all.slice(0, at + 1).findLastIndex(([, seen]) => seen !== 'nothing')
      const since = all.slice(seenAt + 1, at + 1).filter((_, i) => seenAt >= 0 || i > 0) // the first look of all has nothing before it
      assert.ok(since.reduce((sum, [after]) => sum + after, 0) >= 6_000)
      assert.ok(all.slice(Math.max(1, seenAt + 1), at + 1).slice(-2).every(([after]) => after <= 4_000))
    }))
  })
})

describe('the watchdog of a host', () => {
  const vmOf = (name: string, watchdogMs: number) => new MemoryVm({
    spec: {
      vm: name, slice: 's', clientId: name, memoryMiB: 128, cpus: 1, diskMiB: 64, watchdogMs, image: 'i', nics: [], loginPort: 1, logins: [], neighbours: [], execute: [],
    },
    run: 'r', monitor: '', nicSockets: [], console: '', config: '', kernel: '', initrd: '', append: '', layers: [],
  }, true)

  function watchdogOf(vms: Vm[]) {
    const at = { now: 0, watched: vms, answers: new Map<string, Greeting>(), excused: new Set<string>(), open: new Set<AbortSignal>(), asked: [] as string[] }
    const watchdog = new Watchdog({
      clock: { now: () => 0, monotonic: () => at.now, sleep: () => Promise.resolve() }, log: silentLog,
      watched: () => at.watched.filter((vm) => vm.ended === undefined),
      isExcused: (vm) => at.excused.has(vm.instance.spec.vm),
      greet: (vm, _, signal) => {
        const { vm: name } = vm.instance.spec
        at.asked.push(name)
        const answer = at.answers.get(name)
        if (answer) return Promise.resolve(answer)
        at.open.add(signal)
        return new Promise((resolve) => signal.addEventListener('abort', () => {
          at.open.delete(signal)
          resolve('none')
        }))
      },
      end: (vm, why) => vm.kill(why),
    })
    /** So many seconds, with a turn every half. */
    const pass = async (seconds: number) => {
      for (let i = 0; i < 2 * seconds; i++) {
        at.now += 500
        watchdog.turn()
        await new Promise((done) => setImmediate(done))
      }
    }
    return { ...at, at, watchdog, pass }
  }

  it('ends the one that does not answer for its time, says why, and leaves the others alone', async () => {
    const [a, b] = [vmOf('a', 6_000), vmOf('b', 6_000)]
    const { answers, pass } = watchdogOf([a, b])
    answers.set('a', 'banner')
    await pass(6)
    assert.deepEqual([a.ended, b.ended], [undefined, undefined])
    await pass(2)
    assert.deepEqual([a.ended, b.ended], [undefined, 'it hung: its login did not answer for 6 s (watchdog)'])
    await pass(60)
    assert.equal(a.ended, undefined)
  })

  it('asks a third of the time apart and at most ten seconds, one question at a time', async () => {
    const { answers, asked, pass } = watchdogOf([vmOf('a', 6_000), vmOf('b', 600_000), vmOf('c', 3_000_000)])
    for (const name of ['a', 'b']) answers.set(name, 'banner')
    await pass(20)
    assert.deepEqual(['a', 'b', 'c'].map((name) => asked.filter((one) => one === name).length), [10, 2, 1])
  })

  it('expects nothing while there is an excuse, leaves no question open in it, and gives all the time afterwards', async () => {
    const a = vmOf('a', 6_000)
    const { excused, open, pass } = watchdogOf([a])
    await pass(4)
    assert.equal(open.size, 1)
    excused.add('a')
    await pass(60)
    assert.deepEqual([a.ended, open.size], [undefined, 0])
    excused.clear()
    await pass(5)
    assert.equal(a.ended, undefined)
    await pass(4)
    assert.match(a.ended!, /it hung/)
  })

  it('does not hold against a guest that nobody has opened its login, nor that the agent itself stood', async () => {
    const [a, b] = [vmOf('a', 6_000), vmOf('b', 6_000)]
    const { answers, at, pass } = watchdogOf([a, b])
    answers.set('a', 'closed')
    for (let i = 0; i < 10; i++) {
      await pass(4)
      at.now += 100_000
    }
    assert.deepEqual([a.ended, b.ended], [undefined, undefined])
  })

  it('begins anew with a VM that takes the place of another, and forgets one that is gone', async () => {
    const [before, after] = [vmOf('a', 6_000), vmOf('a', 6_000)]
    const { at, open, pass } = watchdogOf([before])
    await pass(5)
    at.watched = [after]
    await pass(5)
    assert.deepEqual([before.ended, after.ended, open.size], [undefined, undefined, 1])
    at.watched = []
    await pass(1)
    assert.equal(open.size, 0)
  })

  it('tries again where one cannot be ended', async () => {
    const a = vmOf('a', 6_000)
    const { pass } = watchdogOf([a])
    let tried = 0
    a.kill = async () => {
      if (++tried === 1) throw new Error('it does not end')
      a.die('at last')
    }
    await pass(20)
    assert.deepEqual([tried, a.ended], [2, 'at last'])
  })
})

describe('a login that is asked', () => {
  async function listening(server: Server): Promise<number> {
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    return (server.address() as { port: number }).port
  }

  it('has a banner, or none; or nobody has opened it', async () => {
    const says = (text: string) => createServer((socket) => socket.on('error', () => undefined).end(text))
    const servers = [says('SSH-2.0-x\r\n'), says('HTTP/1.1 400\r\n'), says('')]
    const ports = await Promise.all(servers.map(listening))
    assert.deepEqual(await Promise.all(ports.map((port) => greet(port, 5_000))), ['banner', 'none', 'none'])
    await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
    assert.equal(await greet(ports[0]!, 5_000), 'closed')
  })

  it('that is silent is given up when the time is over, or at once when told to', async () => {
    let open = 0
    const server = createServer((socket) => {
      open++
      socket.on('error', () => undefined).on('close', () => { open-- }).resume()
    })
    const port = await listening(server)
    assert.equal(await greet(port, 20), 'none')
    const told = new AbortController()
    const greeting = greet(port, 600_000, told.signal)
    assert.ok(await until(realClock, 30_000, 1, () => (open === 1 ? true : undefined)))
    told.abort()
    assert.equal(await greeting, 'none')
    await new Promise((done) => server.close(done)) // closes once no connection is left
  })
})
