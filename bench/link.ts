// Does a shaped link keep its promises? Measured from inside two real guests, on examples/shaped-link.rspec: 10 Mbit/s, 20 ms,
// 2 % there; 2 Mbit/s, 20 ms back. Before and after a rollback. Prints a table, and one JSON object with --json; ends with 1
// where a figure is further off than 10 %, or the loss than half a point.
//   node dist/bench/link.js [--json]
import { parseArgs } from 'node:util'
import { ShapedLine } from './shaped-line.js'

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } })
const enough = 12_000

interface Row { what: string; wanted: number; got: number; least: number; most: number }
const within = (what: string, wanted: number, got: number, off: number): Row => ({ what, wanted, got, least: wanted - off, most: wanted + off })

async function measure(line: ShapedLine, when: string): Promise<Row[]> {
  const round = await line.time(200, 20)
  const there = await line.fill('a', 9_000, 1_400, 1_500) // 17 Mbit/s
  const back = await line.fill('b', 2_000, 1_400, 400) // 4.6 Mbit/s
  const lost = await line.fill('a', enough, 400, 1_000) // 3.5 Mbit/s
  return [
    within(`${when}: round trip, median of ${round.received}, ms`, 40, round.medianMs, 4),
    within(`${when}: capacity there, Mbit/s`, 10, there.bitsPerSecond / 1e6, 1),
    within(`${when}: capacity back, Mbit/s`, 2, back.bitsPerSecond / 1e6, 0.2),
    within(`${when}: lost of ${lost.sent}, %`, 2, 100 * (1 - lost.received / lost.sent), 0.5),
    within(`${when}: doubled or out of order`, 0, [there, back, lost].reduce((sum, one) => sum + one.doubled + one.late, 0), 0),
  ]
}

const line = new ShapedLine()
try {
  await line.open()
  const rows = await measure(line, 'booted')
  await line.snapshot()
  await line.rollback()
  rows.push(...await measure(line, 'rolled back'))
  const bad = rows.filter(({ got, least, most }) => !(got >= least && got <= most))
  if (values.json) console.log(JSON.stringify({ rows, bad: bad.map((row) => row.what) }))
  else for (const row of rows) console.log(`${row.what.padEnd(46)} wanted ${row.wanted}   got ${row.got.toFixed(2)}${bad.includes(row) ? '   OFF' : ''}`)
  process.exitCode = bad.length > 0 ? 1 : 0
} finally {
  await line.close()
}
