// A Redis with two replicas, one on each node, and on each node a writer that appends to a list of its own at the primary and asks (WAIT)
// until both replicas have it, over one connection that it keeps. What it notes then must be in the list: in every life of the slice, on
// all three, once, and in order. Redis itself says how often replicas had to begin anew, and by a digest whether all hold the same.
import { within } from './patience.js'
import { added, readMetrics, readTcp, type Figures } from './figures.js'
import type { Guest } from './guest.js'
import { prepareLan, quoted, tcpCounters, type Workload } from './workload.js'

const port = 6379
/** Between two writes of one writer. */
const everyUs = 100_000
/** A link to a replica that is silent for so long is given up: the standard, which the pauses must not come near. */
const linkSeconds = 60
/** What Redis counts of the primary's side, and of a replica's. */
const counted = ['sync_full', 'sync_partial_ok', 'sync_partial_err', 'rejected_connections', 'total_error_replies', 'evicted_keys'] as const

const writer = `#!/bin/sh
# writer NODE ADDRESS: appends numbers to a list, and notes those that the primary and both replicas have acknowledged
trap '' PIPE
connect() {
  rm -f /run/writer.in /run/writer.out
  mkfifo /run/writer.in /run/writer.out
  nc "$1" ${port} </run/writer.in >/run/writer.out &
  exec 3>/run/writer.in 4</run/writer.out
}
connect "$2"
n=0
while true; do
  n=$((n+1))
  printf 'RPUSH writes:%s %d\\r\\nWAIT 2 30000\\r\\n' "$1" $n >&3
  if read -r length <&4 && read -r replicas <&4; then
    case $length$replicas in :*:2*) echo $n >>/data/writes ;; *) echo "$n $length $replicas" >>/data/failures ;; esac
  else
    echo "$n the connection broke" >>/data/failures
    exec 3>&- 4<&-
    sleep 1
    connect "$2"
  fi
  usleep ${everyUs}
done
`

export function redis(): Workload {
  let addresses: string[] = []
  const cli = async (guest: Guest, i: number, words: string) => (await guest.run(`in_lan redis-cli -h ${addresses[i]!} -p ${port} ${words}`)).trim()

  async function begin(guests: Guest[]): Promise<void> {
    await Promise.all(guests.map((guest) => prepareLan(guest)))
    addresses = await Promise.all(guests.map(async (guest) => (await guest.run("cut -d ' ' -f 2 /run/config/nics | cut -d / -f 1 | head -n 1")).trim()))
    await Promise.all(guests.map((guest, i) => guest.run(`
      in_lan setsid redis-server --bind ${addresses[i]!} --port ${port} --dir /data --protected-mode no --save '' --appendonly yes --appendfsync always \
        --enable-debug-command yes --repl-timeout ${linkSeconds} --repl-diskless-sync yes --repl-diskless-sync-delay 0 --logfile /data/redis.log \
        ${i === 0 ? '' : `--replicaof ${addresses[0]!} ${port}`} </dev/null >/dev/null 2>&1 &`)))
    await within('both replicas are in step', 120_000, async () => (await cli(guests[0]!, 0, 'info replication')).split('state=online').length - 1 === guests.length - 1)
    await Promise.all(guests.map((guest) => guest.run(`
      printf %s ${quoted(writer)} >/run/writer; : >/data/writes; : >/data/failures
      in_lan setsid sh /run/writer ${guest.name} ${addresses[0]!} </dev/null >/dev/null 2>&1 &`)))
    await within('every writer has written', 60_000, async () => (await figures(guests))['acknowledged']! >= 10 * guests.length)
  }

  async function figures(guests: Guest[]): Promise<Figures> {
    return added(...await Promise.all(guests.map(async (guest, i) => {
      const told = await guest.run(`${tcpCounters}
        in_lan redis-cli -h ${addresses[i]!} -p ${port} info stats | tr -d '\\r' | grep -E '^(${counted.join('|')}):' | tr : ' '
        echo "acknowledged $(wc -l </data/writes)"; echo "refused $(wc -l </data/failures)"
        echo "warnings $(grep -c ' # ' /data/redis.log)"; echo "lost_links $(grep -c -i -E 'connection (with|lost)|timeout' /data/redis.log)"`)
      const mine = readMetrics(told)
      if (counted.some((name) => mine[name] === undefined)) throw new Error(`Redis on ${guest.name} does not tell its figures: ${told.slice(-300)}`)
      return { ...readTcp(told), ...mine }
    })))
  }

  async function mark(guests: Guest[], name: string): Promise<void> {
    const said = await guests[0]!.run(`printf '%s\\n' 'sadd marks ${name}' 'wait 2 60000' | in_lan redis-cli -h ${addresses[0]!} -p ${port}`) // over one connection
    if (!/^1\s+2\s*$/.test(said)) throw new Error(`the mark ${name} was not acknowledged by both replicas: ${said.trim()}`)
  }

  async function check(guests: Guest[], present: string[], absent: string[]): Promise<string[]> {
    const notes = await Promise.all(guests.map((guest) => guest.run('cat /data/writes'))) // before the store is read: it may have more
    const wrong: string[] = []
    await cli(guests[0]!, 0, 'client pause 60000 write') // now all three can come to the same
    try {
      await within('replicas have all that the primary has', 50_000, async () => (await Promise.all(guests.map((guest, i) => offset(guest, i)))).every((o, _, all) => o === all[0]))
      for (const [i, guest] of guests.entries()) {
        for (const [n, writer] of guests.entries()) wrong.push(...missing(guest.name, writer.name, notes[n]!, await cli(guest, i, `lrange writes:${writer.name} 0 -1`)))
        const marks = (await cli(guest, i, 'smembers marks')).split('\n')
        for (const name of present) if (!marks.includes(name)) wrong.push(`on ${guest.name} the mark ${name}, acknowledged before the cut, is not there`)
        for (const name of absent) if (marks.includes(name)) wrong.push(`on ${guest.name} the mark ${name}, written after the cut, is there`)
      }
      const digests = await Promise.all(guests.map((guest, i) => cli(guest, i, 'debug digest')))
      if (new Set(digests).size !== 1 || !/^[0-9a-f]{40}$/.test(digests[0]!)) wrong.push(`the stores differ: ${digests.join(', ')}`)
    } finally {
      await cli(guests[0]!, 0, 'client unpause')
    }
    return wrong
  }

  const offset = async (guest: Guest, i: number) => /master_repl_offset:(\d+)/.exec(await cli(guest, i, 'info replication'))?.[1]

  return {
    name: 'redis', memoryMiB: 128, diskMiB: 128, judged: [...counted.slice(0, 4), 'refused', 'lost_links'], begin, figures, mark, check,
  }
}

/** What was noted and is not in the list, is in it twice, or out of order. */
function missing(where: string, node: string, notes: string, list: string): string[] {
  const wrong: string[] = []
  const numbers = list.split('\n').filter((line) => line !== '').map(Number)
  const there = new Set(numbers)
  const lost = notes.split('\n').filter((line) => line !== '' && !there.has(Number(line)))
  if (lost.length > 0) wrong.push(`on ${where}: of what ${node} wrote, ${lost.length} were acknowledged and are not there: ${lost.slice(0, 5).join(', ')}`)
  const twisted = numbers.findIndex((n, i) => i > 0 && n <= numbers[i - 1]!)
  if (twisted >= 0) wrong.push(`on ${where}: of what ${node} wrote, ${numbers[twisted]} comes after ${numbers[twisted - 1]}`)
  return wrong
}
