import assert from 'node:assert/strict'
import { runMachine, type Machine } from '../../../snapshots/runner.js'

/** Counts to three; every effect's answer is the next event. */
function counter(more: Partial<Machine<number, string, string>> = {}) {
  const story: string[] = []
  const machine: Machine<number, string, string> = {
    step: (state, event) => (event === 'ignored' ? [state, []] : [state + 1, [`effect of ${event}`]]),
    isOver: (state) => state >= 3,
    journal: async (state) => {
      story.push(`journal ${state} begins`)
      await new Promise((done) => setImmediate(done))
      story.push(`journal ${state}`)
    },
    perform: (effect, emit) => {
      story.push(effect)
      emit('answer')
    },
    ...more,
  }
  return { story, machine }
}

describe('the runner of step functions', () => {
  it('journals each state before it performs the effects that led there, one event at a time', async () => {
    const { machine, story } = counter({ perform: (effect, emit) => { story.push(effect); if (effect !== 'effect of third') emit(effect.includes('first') ? 'second' : 'third') } })
    assert.equal(await runMachine(machine, 0, ['first']).over, 3)
    assert.deepEqual(story, [
      'journal 1 begins', 'journal 1', 'effect of first', 'journal 2 begins', 'journal 2', 'effect of second',
      'journal 3 begins', 'journal 3', 'effect of third',
    ])
  })

  it('takes events that come while it journals in their order', async () => {
    const { machine, story } = counter({ perform: (effect) => { story.push(effect) } })
    const running = runMachine(machine, 0, ['a'])
    running.emit('b')
    running.emit('c')
    assert.equal(await running.over, 3)
    assert.deepEqual(story.filter((s) => s.startsWith('effect')), ['effect of a', 'effect of b', 'effect of c'])
  })

  it('performs nothing and stops when the journal cannot be written', async () => {
    const { machine, story } = counter({ journal: () => Promise.reject(new Error('the disk is full')) })
    const running = runMachine(machine, 0, ['first'])
    await assert.rejects(running.over, /the disk is full/)
    running.emit('late')
    await new Promise((done) => setImmediate(done))
    assert.deepEqual([story, running.state], [[], 0])
  })

  it('journals nothing when nothing has changed', async () => {
    const { machine, story } = counter({ perform: (effect) => { story.push(effect) } })
    const running = runMachine(machine, 0, ['ignored', 'first', 'second', 'ignored', 'third', 'ignored'])
    assert.equal(await running.over, 3)
    assert.deepEqual(story.filter((s) => /^journal \d$/.test(s)), ['journal 1', 'journal 2', 'journal 3'])
  })

  it('is over as soon as its state says so, and still answers whoever asks later', async () => {
    const asked: string[] = []
    const { machine } = counter({ perform: (effect, emit) => { if (asked.push(effect) < 6) emit('asked again') } })
    const running = runMachine(machine, 0, ['first'])
    assert.equal(await running.over, 3)
    assert.equal(asked.length, 3)
    while (asked.length < 6) await new Promise((done) => setImmediate(done))
    assert.equal(running.state, 6)
  })

  it('takes no event of its own accord', () => {
    const { machine, story } = counter()
    assert.equal(runMachine(machine, 0, []).state, 0)
    assert.deepEqual(story, [])
  })
})
