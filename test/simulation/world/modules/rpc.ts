// base/rpc.ts over the simulated network: the same functions, the same promises.
import type { Log } from '../../../../base/log.js'
import type { RpcClient, RpcHandlers, RpcServer } from '../../../../base/rpc.js'
import { Connection } from '../network.js'
import { product } from '../../product.js'
import { world } from '../world.js'

export async function serveRpc(path: string, handlers: RpcHandlers, log: Log): Promise<RpcServer> {
  const { Refusal, Failure } = product().errors
  const server = world().network.serve(path, Object.fromEntries(Object.entries(handlers).map(([method, handle]) => [method, async (params: never) => {
    try {
      return await handle(params)
    } catch (error) {
      if (!(error instanceof Refusal) && !(error instanceof Failure)) log.error({ method, err: error }, 'request failed by a bug')
      throw error
    }
  }])))
  return {
    notify: (method, params) => { for (const connection of server.open) connection.tell(method, params) },
    peers: () => server.open.size,
    close: async () => world().network.close(server),
  }
}

export async function connectRpc(path: string, name: string): Promise<RpcClient> {
  const w = world()
  const self = w.self()
  const { Failure } = product().errors
  await new Promise<void>((resolve) => { w.after(0.1, self, resolve) })
  const server = w.network.servers.get(path)
  if (!server?.proc.alive || !w.network.reachable(path)) throw new Failure('host-lost', `${name} does not answer at ${path}`)
  const connection = new Connection(self, server)
  const lost = () => new Failure('host-lost', `the connection to ${name} was lost`)
  return {
    request: <T>(method: string, params: unknown, timeoutMs: number) => new Promise<T>((resolve, reject) => {
      if (!connection.open) return reject(lost())
      const late = w.timer(() => {
        connection.forget(done)
        reject(new Failure('timed-out', `${name} did not answer ${method} within ${timeoutMs} ms`))
      }, timeoutMs, false)
      const done = (answer: { result: unknown } | { error: unknown }) => {
        late.off = true
        if ('result' in answer) resolve(answer.result as T)
        else reject(asTold(answer.error, name))
      }
      connection.closedBy.push(() => {
        late.off = true
        reject(lost())
      })
      connection.ask(method, params, done)
    }),
    onNotification: (method, listener) => { connection.listeners.set(method, listener) },
    onClose: (listener) => { if (connection.open) connection.closedBy.push(listener); else listener() },
    close: () => connection.end(),
  }
}

/** An error as it is on the other side of a wire: kind, code and sentence. */
function asTold(error: unknown, name: string): Error {
  const { Refusal, Failure, explain } = product().errors
  if (error instanceof Refusal) return new Refusal(error.code, explain(error))
  return new Failure(error instanceof Failure ? error.code : 'failed', `${name}: ${explain(error)}`)
}
