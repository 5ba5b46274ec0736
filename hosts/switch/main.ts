// The switch process: the data plane of one host. It outlives its agent, and nothing in here waits for anybody. It ends when it is told
// to, by `up` or by an agent that nobody has supervised for long.
import { makeFolder, sweepAsides } from '../../base/durable.js'
import { armFaults } from '../../base/fault-points.js'
import { goFirst, lead, raiseSession, stopLeading } from '../../base/priority.js'
import { makeLog } from '../../base/log.js'
import { realRandom, token } from '../../base/random.js'
import { serveRpc, type RpcServer } from '../../base/rpc.js'
import { realClock } from '../../base/time.js'
import { Switch } from '../../overlay/switch.js'

export interface SwitchConfig {
  /** Where its prepared epochs are kept. */
  folder: string
  socket: string
  logLevel?: string
  /** Orders for fault points: tests only. */
  faults?: string
}

const config = JSON.parse(process.env['VIOLIN_CONFIG'] ?? '{}') as SwitchConfig
const log = makeLog('switch', config.logLevel)
armFaults(config.faults)
goFirst()
raiseSession()
const tickMs = 50
/** After a cut the memory of VMs is written beside them for some seconds: a frame that waits for us then waits for them as well. */
const besideMs = 3_000

await makeFolder(config.folder)
await sweepAsides(config.folder)
const served: { by?: RpcServer } = {}
const theSwitch = new Switch({
  folder: config.folder,
  bootId: token(realRandom),
  clock: realClock,
  log,
  tell: (what, detail) => served.by?.notify(what, detail),
  isLed: () => (served.by?.peers() ?? 0) > 0,
  urgency: { begin: lead, end: () => stopLeading(besideMs) },
})
const server = await serveRpc(config.socket, { ...theSwitch.handlers, end: () => { setImmediate(end) } }, log)
served.by = server
const ticking = setInterval(() => theSwitch.tick(), tickMs)
log.info({ socket: config.socket }, 'switch is up')
process.send?.({ ready: true })

function end(): void {
  clearInterval(ticking)
  theSwitch.close()
  void server.close()
  if (process.connected) process.disconnect()
}
process.on('SIGTERM', end)
