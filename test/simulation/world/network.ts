// Messages between the processes of the world: JSON-RPC connections, as base/rpc.ts makes them, without sockets. A connection is a
// stream (in order, nothing lost) until a fault says otherwise; it ends with the life of either side.
import { world, type Proc } from './world.js'

export type Handlers = Record<string, (params: never) => unknown>
type Answer = { result: unknown } | { error: unknown }

export interface Server { path: string; proc: Proc; handlers: Handlers; open: Set<Connection> }

/** What becomes of one message: the delays of its copies (none: it is lost), and whether it may overtake others. */
export interface Passage { delays: number[]; overtakes: boolean }
export type Way = 'ask' | 'answer' | 'tell'

export class Network {
  readonly servers = new Map<string, Server>()
  readonly connections = new Set<Connection>()
  /** Faults of messages put themselves here. */
  passage: (connection: Connection, way: Way) => Passage = () => ({ delays: [world().dice.between(0.02, 0.4)], overtakes: false })
  /** False: nobody gets through to that path now. */
  reachable: (path: string) => boolean = () => true
  /** Told of each ask as it reaches its server, and of its answer: for whoever looks on. */
  onAsk: (server: Server, method: string, params: unknown) => void = () => undefined
  onAnswer: (server: Server, method: string, params: unknown, result: unknown) => void = () => undefined

  serve(path: string, handlers: Handlers): Server {
    const proc = world().self()
    const server: Server = { path, proc, handlers, open: new Set() }
    this.servers.set(path, server)
    proc.onDeath.push(() => this.close(server))
    return server
  }

  close(server: Server): void {
    if (this.servers.get(server.path) === server) this.servers.delete(server.path)
    for (const connection of [...server.open]) connection.end()
  }
}

export class Connection {
  readonly client: Proc
  readonly server: Server
  open = true
  closedBy: (() => void)[] = []
  readonly listeners = new Map<string, (params: never) => void>()
  private readonly pending = new Map<number, (answer: Answer) => void>()
  private count = 0
  private readonly lastAt = { there: 0, back: 0 }

  constructor(client: Proc, server: Server) {
    this.client = client
    this.server = server
    server.open.add(this)
    world().network.connections.add(this)
    client.onDeath.push(() => this.end())
  }

  /** Asks; `done` is called once, in the life of the client, or never (a lost message). */
  ask(method: string, params: unknown, done: (answer: Answer) => void): void {
    const id = ++this.count
    this.pending.set(id, done)
    const text = JSON.stringify(params ?? null)
    this.send('ask', this.server.proc, () => {
      const given = JSON.parse(text) as never
      const handle = this.server.handlers[method]
      world().network.onAsk(this.server, method, given)
      const answer = (result: Answer) => {
        if ('result' in result) world().network.onAnswer(this.server, method, given, result.result)
        const told = 'result' in result ? { result: JSON.parse(JSON.stringify(result.result ?? null)) as unknown } : result
        this.send('answer', this.client, () => {
          const waiting = this.pending.get(id)
          this.pending.delete(id)
          waiting?.(told)
        })
      }
      if (!handle) return answer({ error: new Error(`there is no method ${method}`) })
      new Promise((resolve) => resolve(handle(given))).then((result) => answer({ result }), (error: unknown) => answer({ error }))
    })
  }

  forget(done: (answer: Answer) => void): void {
    for (const [id, waiting] of this.pending) if (waiting === done) this.pending.delete(id)
  }

  tell(method: string, params: unknown): void {
    const text = JSON.stringify(params ?? null)
    this.send('tell', this.client, () => this.listeners.get(method)?.(JSON.parse(text) as never))
  }

  end(): void {
    if (!this.open) return
    this.open = false
    this.server.open.delete(this)
    world().network.connections.delete(this)
    world().after(0.05, this.client, () => { for (const listener of this.closedBy) listener() })
  }

  private send(way: Way, to: Proc, act: () => void): void {
    const w = world()
    if (!this.open || (w.current && !w.step(w.current))) return
    const { delays, overtakes } = w.network.passage(this, way)
    const line = way === 'ask' ? 'there' : 'back'
    for (const delay of delays) {
      const at = overtakes ? w.now + delay : Math.max(w.now + delay, this.lastAt[line])
      if (!overtakes) this.lastAt[line] = at
      w.after(at - w.now, to, () => { if (this.open) act() })
    }
  }
}
