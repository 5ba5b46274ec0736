// Three members of etcd, one on each node, and on each node a writer that writes to the next member, over the LAN, and notes in a file
// what was acknowledged, with the revision that etcd gave it. Files and stores are cut together, so whatever a file says must be in the
// store, in every life of the slice. etcd itself says how often it has elected, and whether its members agree.
import { within } from './patience.js'
import { added, readMetrics, readTcp, type Figures } from './figures.js'
import type { Guest } from './guest.js'
import { prepareLan, quoted, tcpCounters, type Workload } from './workload.js'

/** Ten times the standard ones: an emulated guest is slow. The same in the run without snapshots. */
const heartbeatMs = 500
const electionMs = 5_000
/** Between two writes of one writer. */
const everyUs = 100_000
const clientPort = 2379
const peerPort = 2380

const metrics = [
  'etcd_server_leader_changes_seen_total', 'etcd_server_proposals_failed_total', 'etcd_server_heartbeat_send_failures_total', 'etcd_server_slow_apply_total',
]

const writer = `#!/bin/sh
# writer NODE ADDRESS: writes numbered keys one after the other over one connection that it keeps, and notes "NUMBER REVISION" when one is
# acknowledged. When the connection breaks that is a failure, and it makes a new one.
trap '' PIPE
cr=$(printf '\\r')
n=0
connect() {
  rm -f /run/writer.in /run/writer.out
  mkfifo /run/writer.in /run/writer.out
  nc "$1" ${clientPort} </run/writer.in >/run/writer.out &
  exec 3>/run/writer.in 4</run/writer.out
}
answer() { # of the request that was sent last
  length=
  while read -r word value <&4; do
    case $word in Content-Length:) length=\${value%$cr} ;; $cr) break ;; esac
  done
  [ -n "$length" ] && answer=$(head -c $length <&4)
}
connect "$2"
while true; do
  n=$((n+1))
  body="{\\"key\\":\\"$(printf 'w/%s/%09d' "$1" $n | base64)\\",\\"value\\":\\"$(printf '%s.%d' "$1" $n | base64)\\"}"
  printf 'POST /v3/kv/put HTTP/1.1\\r\\nHost: etcd\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \${#body} "$body" >&3
  if answer; then
    revision=\${answer#*'"revision":"'}
    if [ "$revision" != "$answer" ]; then echo "$n \${revision%%'"'*}" >>/data/writes; else echo "$n $answer" >>/data/failures; fi
  else
    echo "$n the connection broke" >>/data/failures
    exec 3>&- 4<&-
    sleep 1
    connect "$2"
  fi
  usleep ${everyUs}
done
`

interface Kv { key: string; value?: string; mod_revision: string }
interface Range { header: { revision: string }; kvs?: Kv[] }
interface Status { leader: string; raftTerm: string; errors?: string[] }

export function etcd(): Workload {
  let addresses: string[] = []
  const ask = (guest: Guest, i: number, path: string, body: object = {}) => askJson(guest, `${addresses[i]!} ${clientPort}`, path, JSON.stringify(body))

  async function begin(guests: Guest[]): Promise<void> {
    await Promise.all(guests.map((guest) => prepareLan(guest)))
    addresses = await Promise.all(guests.map(async (guest) => (await guest.run("cut -d ' ' -f 2 /run/config/nics | cut -d / -f 1 | head -n 1")).trim()))
    const cluster = guests.map((guest, i) => `${guest.name}=http://${addresses[i]!}:${peerPort}`).join(',')
    const url = (i: number) => `http://${addresses[i]!}:${clientPort}`
    await Promise.all(guests.map((guest, i) => guest.run(`
      in_lan setsid etcd --name ${guest.name} --data-dir /data/etcd --initial-cluster ${cluster} --initial-cluster-state new \
        --listen-peer-urls http://${addresses[i]!}:${peerPort} --initial-advertise-peer-urls http://${addresses[i]!}:${peerPort} \
        --listen-client-urls ${url(i)} --advertise-client-urls ${url(i)} \
        --heartbeat-interval ${heartbeatMs} --election-timeout ${electionMs} --logger zap </dev/null >/data/etcd.log 2>&1 &`)))
    await within('all members are healthy, and each can read', 180_000, async () => {
      for (const [i, guest] of guests.entries()) await ask(guest, i, '/v3/kv/range', { key: coded('any') })
      return (await unhealthy(guests)).length === 0
    })
    await Promise.all(guests.map((guest, i) => guest.run(`
      printf %s ${quoted(writer)} >/run/writer; : >/data/writes; : >/data/failures
      in_lan setsid sh /run/writer ${guest.name} ${addresses[(i + 1) % addresses.length]!} </dev/null >/dev/null 2>&1 &`)))
    await within('every writer has written', 60_000, async () => (await figures(guests))['acknowledged']! >= 10 * guests.length)
  }

  async function figures(guests: Guest[]): Promise<Figures> {
    return added(...await Promise.all(guests.map(async (guest, i) => {
      const told = await guest.run(`${tcpCounters}
        ask ${addresses[i]!} ${clientPort} GET /metrics | grep -E '^(${metrics.join('|')}) '
        echo "acknowledged $(wc -l </data/writes)"; echo "refused $(wc -l </data/failures)"
        echo "errors $(grep -c -E '"level":"(error|dpanic|panic|fatal)"' /data/etcd.log)"
        echo "lost_streams $(grep -c 'lost TCP streaming connection' /data/etcd.log)"
        ask ${addresses[i]!} ${clientPort} POST /v3/maintenance/status '{}'`)
      const term = Number(/"raftTerm":"(\d+)"/.exec(told)?.[1])
      const mine = readMetrics(told)
      if (!Number.isFinite(term) || metrics.some((name) => mine[name] === undefined)) throw new Error(`etcd on ${guest.name} does not tell its figures: ${told.slice(-300)}`)
      // every member knows of every election: the first one tells
      return { ...readTcp(told), ...mine, ...(i === 0 ? { elections: term } : {}) }
    })))
  }

  async function mark(guests: Guest[], name: string): Promise<void> {
    await ask(guests[0]!, 0, '/v3/kv/put', { key: coded(`mark/${name}`), value: coded('there') })
  }

  async function check(guests: Guest[], present: string[], absent: string[]): Promise<string[]> {
    const notes = await Promise.all(guests.map((guest) => guest.run('cat /data/writes'))) // before the store is read: it may have more
    const all = { key: coded('\0'), range_end: coded('\0') }
    const first = await ask(guests[0]!, 0, '/v3/kv/range', all) as Range
    const store = storeOf(first)
    const wrong = guests.flatMap((guest, i) => missing(guest.name, notes[i]!, store))
    for (const name of present) if (!store.has(`mark/${name}`)) wrong.push(`the mark ${name}, acknowledged before the cut, is not there`)
    for (const name of absent) if (store.has(`mark/${name}`)) wrong.push(`the mark ${name}, written after the cut, is there`)
    for (const [i, guest] of guests.entries()) {
      const own = await ask(guest, i, '/v3/kv/range', { ...all, revision: first.header.revision }) as Range
      if (JSON.stringify(own.kvs) !== JSON.stringify(first.kvs)) wrong.push(`at revision ${first.header.revision} the member ${guest.name} has another store than ${guests[0]!.name}`)
    }
    return [...wrong, ...await unhealthy(guests)]
  }

  /** What the members say of themselves. Not by /health: it gives up after one second, which an emulated guest may need. */
  async function unhealthy(guests: Guest[]): Promise<string[]> {
    const wrong: string[] = []
    const leaders = new Set<string>()
    for (const [i, guest] of guests.entries()) {
      const { leader, errors } = await ask(guest, i, '/v3/maintenance/status') as Status
      leaders.add(leader)
      if (errors?.length) wrong.push(`${guest.name} has errors: ${errors.join(', ')}`)
      const alarms = JSON.stringify(await ask(guest, i, '/v3/maintenance/alarm', { action: 'GET' }))
      if (alarms.includes('alarms')) wrong.push(`${guest.name} has alarms: ${alarms}`)
    }
    if (leaders.size !== 1) wrong.push(`the members follow ${leaders.size} leaders: ${[...leaders].join(', ')}`)
    return wrong
  }

  return {
    name: 'etcd', memoryMiB: 256, diskMiB: 512, judged: ['elections', ...metrics.slice(0, 2), 'refused', 'errors', 'lost_streams'], begin, figures, mark, check,
  }
}

async function askJson(guest: Guest, where: string, path: string, body: string): Promise<unknown> {
  return JSON.parse(await guest.run(`ask ${where} POST ${path} ${quoted(body)}`)) as unknown
}

const coded = (text: string): string => Buffer.from(text, 'utf8').toString('base64')
const plain = (text: string): string => Buffer.from(text, 'base64').toString('utf8')

function storeOf({ kvs }: Range): Map<string, Kv> {
  return new Map((kvs ?? []).map((kv) => [plain(kv.key), { ...kv, value: plain(kv.value ?? '') }]))
}

/** Acknowledged writes that the store does not have, or not as they were acknowledged. */
function missing(node: string, notes: string, store: Map<string, Kv>): string[] {
  const wrong: string[] = []
  let last = 0
  for (const line of notes.trimEnd().split('\n').filter((l) => l !== '')) {
    const [number, revision] = line.split(' ').map(Number)
    const kv = store.get(`w/${node}/${String(number).padStart(9, '0')}`)
    if (!kv) wrong.push(`${node}: write ${number} was acknowledged and is not there`)
    else if (kv.value !== `${node}.${number}` || kv.mod_revision !== String(revision)) {
      wrong.push(`${node}: write ${number} was acknowledged at revision ${revision}, and is ${kv.value} of revision ${kv.mod_revision}`)
    }
    if (!(number! > last)) wrong.push(`${node}: write ${number} was noted after ${last}`)
    last = number!
  }
  return wrong.length > 10 ? [...wrong.slice(0, 10), `${node}: and ${wrong.length - 10} more`] : wrong
}
