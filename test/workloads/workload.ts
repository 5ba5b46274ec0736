// What a foreign workload is to the course of a run: how it is begun in three guests, what it counts, and how it judges itself.
import type { Guest } from './guest.js'
import type { Figures } from './figures.js'

export interface Workload {
  readonly name: string
  readonly memoryMiB: number
  readonly diskMiB: number
  /** Figures that may not be more than in a run without snapshots, beside those of TCP. */
  readonly judged: readonly string[]
  /** After: it runs on all guests, and is under load. */
  begin(guests: Guest[]): Promise<void>
  /** What it counts, over all guests. Counters only: they never fall while a life lasts. */
  figures(guests: Guest[]): Promise<Figures>
  /** Writes something by which its state can be told later, and returns once it is acknowledged. */
  mark(guests: Guest[], mark: string): Promise<void>
  /** What is wrong with its state: `present` marks must be there, `absent` ones not. Nothing: all is well. */
  check(guests: Guest[], present: string[], absent: string[]): Promise<string[]>
}

/** For /bin/sh in a guest. */
export const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`

/**
 * Gives a guest a network namespace of its own for its LAN, and the word `in_lan`: so the kernel's counters there hold nothing of logins,
 * which a rollback breaks, and which are on a network that is no part of a cut. And the word `ask ADDRESS PORT METHOD PATH [BODY]`, which
 * gives what an HTTP server answers. In HTTP/1.0 the server closes first: whoever closes first while there is something to read makes a reset.
 */
export async function prepareLan(guest: Guest): Promise<void> {
  await guest.run(`
    [ ! -e /run/lan.pid ] || exit 0
    unshare -n setsid sleep 2147483647 </dev/null >/dev/null 2>&1 &
    pid=$!
    while [ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do usleep 20000; done
    cat >/bin/in_lan <<'EOT'
#!/bin/sh
exec nsenter -t "$(cat /run/lan.pid)" -n "$@"
EOT
    cat >/bin/ask-in-turn <<'EOT'
#!/bin/sh
printf '%s %s HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n%s' "$1" "$2" \${#3} "$3"
cat >"$4"
EOT
    cat >/bin/ask <<'EOT'
#!/bin/sh
answer=/run/answer.$$
in_lan nc "$1" "$2" -e /bin/ask-in-turn "$3" "$4" "$5" $answer
case $(head -n 1 $answer) in *' 200 '*) sed '1,/^.$/d' $answer; code=0 ;; *) cat $answer >&2; code=1 ;; esac
rm -f $answer
exit $code
EOT
    chmod 755 /bin/in_lan /bin/ask /bin/ask-in-turn
    echo $pid >/run/lan.pid
    in_lan ip link set lo up
    while read -r mac address mtu; do
      for nic in /sys/class/net/*; do
        [ "$(cat $nic/address)" = "$mac" ] || continue
        nic=\${nic##*/}
        ip link set $nic netns $pid
        in_lan ip address add "$address" dev $nic
        in_lan ip link set $nic up
      done
    done </run/config/nics
    in_lan ip address | grep -q 'inet 10\\.[0-9]' `)
}

/** The kernel's counters of TCP on the LAN. */
export const tcpCounters = 'p=$(cat /run/lan.pid); cat /proc/$p/net/snmp /proc/$p/net/netstat'
