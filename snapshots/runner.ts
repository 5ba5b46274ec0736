// Runs a step function against the world: take an event, step, journal the new state, then perform the effects, whose
// answers are new events. The only loop of the protocol that does I/O; coordinator and participant both live in it.

export interface Machine<State, Event, Effect> {
  step(state: State, event: Event): [State, Effect[]]
  isOver(state: State): boolean
  /** Durable before any effect is performed. When it fails, nothing is performed and the machine stops. */
  journal(state: State): Promise<void>
  /** Begins an effect; `emit` may be called at any later time. Must not throw. */
  perform(effect: Effect, emit: (event: Event) => void): void
  onStep?(before: State, after: State, event: Event): void
}

export interface Running<State, Event> {
  emit(event: Event): void
  readonly state: State
  /** Settles when the machine is over, or rejects when its journal could not be written. */
  readonly over: Promise<State>
}

export function runMachine<State, Event, Effect>(
  machine: Machine<State, Event, Effect>, initial: State, first: Event[],
): Running<State, Event> {
  let state = initial
  let draining = false
  let stopped = false
  const queue = [...first]
  let finish!: (state: State) => void
  let fail!: (error: unknown) => void
  const over = new Promise<State>((resolve, reject) => {
    finish = resolve
    fail = reject
  })
  over.catch(() => undefined) // whoever waits for it hears it; nobody has to

  async function drain(): Promise<void> {
    draining = true
    try {
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
        const [next, effects] = machine.step(state, event)
        if (next !== state) {
          await machine.journal(next)
          machine.onStep?.(state, next, event)
        }
        state = next
        for (const effect of effects) machine.perform(effect, emit)
        if (machine.isOver(state)) finish(state) // what still comes is answered, but nobody waits for it
      }
    } catch (error) {
      stopped = true
      fail(error)
    } finally {
      draining = false
    }
  }

  function emit(event: Event): void {
    if (stopped) return
    queue.push(event)
    if (!draining) void drain()
  }

  if (queue.length > 0) void drain()
  return { emit, get state() { return state }, over }
}
