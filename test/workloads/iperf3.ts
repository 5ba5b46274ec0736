// iperf3 in a ring: from each node to the next a TCP stream and a stream of numbered UDP datagrams, for the whole run over the same connections.
// Both ends write what they have seen of every second. It stores nothing, so there is nothing to mark: its proof is that no stream ends,
// that no datagram is lost, and that the seconds follow on each other without a gap.
import { within } from './patience.js'
import { added, readMetrics, readTcp, type Figures } from './figures.js'
import type { Guest } from './guest.js'
import { prepareLan, tcpCounters, type Workload } from './workload.js'

const ports = { tcp: 5201, udp: 5202 }
const seconds = 86_400
/** Bit a second: what three emulated guests on two cores can do without losing datagrams in their own buffers. */
const rates = { tcp: '2M', udp: '200K' }

/** How many datagrams a server has missed, as it says of every second: `lost/total (percent)`. */
const countLost = "grep -o '[0-9]*/[0-9]* (' /run/server-udp.log | cut -d / -f 1 | awk '{ sum += $1 } END { print \"udp_lost\", sum + 0 }'"
const interval = /^\[ *\d+\] +(\d+\.\d+)-(\d+\.\d+) +sec/gm

export function iperf3(): Workload {
  async function begin(guests: Guest[]): Promise<void> {
    await Promise.all(guests.map((guest) => prepareLan(guest)))
    const addresses = await Promise.all(guests.map(async (guest) => (await guest.run("cut -d ' ' -f 2 /run/config/nics | cut -d / -f 1 | head -n 1")).trim()))
    await Promise.all(guests.map((guest) => guest.run(Object.entries(ports).map(([kind, port]) =>
      `in_lan setsid iperf3 -s -p ${port} --forceflush </dev/null >/run/server-${kind}.log 2>&1 &\necho $! >/run/server-${kind}.pid`).join('\n'))))
    await within('all servers listen', 60_000, async () =>
      (await Promise.all(guests.map((guest) => guest.run('grep -l listening /run/server-tcp.log /run/server-udp.log | wc -l')))).every((n) => n.trim() === '2'))
    await Promise.all(guests.map((guest, i) => guest.run(Object.entries(ports).map(([kind, port]) => {
      const udp = kind === 'udp' ? `-u -l 500 -b ${rates.udp}` : `-b ${rates.tcp}`
      const to = addresses[(i + 1) % addresses.length]!
      return `in_lan setsid iperf3 -c ${to} -p ${port} -t ${seconds} ${udp} --forceflush </dev/null >/run/client-${kind}.log 2>&1 &\necho $! >/run/client-${kind}.pid`
    }).join('\n'))))
    await within('every stream flows', 60_000, async () => (await figures(guests))['acknowledged']! >= 20 * guests.length)
  }

  async function figures(guests: Guest[]): Promise<Figures> {
    return added(...await Promise.all(guests.map(async (guest) => {
      const told = await guest.run(`${tcpCounters}
        echo "acknowledged $(cat /run/client-*.log /run/server-*.log | grep -c ' sec ')"
        echo "errors $(cat /run/client-*.log /run/server-*.log | grep -c -i -E 'error|unable|terminated|out of order')"
        ${countLost}`)
      return { ...readTcp(told), ...readMetrics(told) }
    })))
  }

  async function check(guests: Guest[]): Promise<string[]> {
    const wrong: string[] = []
    for (const guest of guests) {
      for (const log of ['client-tcp', 'client-udp', 'server-tcp', 'server-udp']) {
        const said = await guest.run(`kill -0 $(cat /run/${log}.pid) || echo 'it has ended'; cat /run/${log}.log`)
        if (/it has ended|error|unable|terminated/i.test(said)) wrong.push(`${guest.name}, ${log}: ${said.trim().split('\n').slice(-2).join(' ')}`)
        const spans = [...said.matchAll(interval)].map((m) => [m[1]!, m[2]!] as const)
        const gap = spans.findIndex(([from], i) => i > 0 && from !== spans[i - 1]![1])
        if (gap > 0) wrong.push(`${guest.name}, ${log}: after the second ${spans[gap - 1]![1]} comes ${spans[gap]![0]}`)
        if (spans.length === 0) wrong.push(`${guest.name}, ${log}: it tells of no second`)
      }
    }
    return wrong
  }

  return { name: 'iperf3', memoryMiB: 128, diskMiB: 64, judged: ['errors', 'udp_lost'], begin, figures, mark: async () => undefined, check: async (guests) => check(guests) }
}
