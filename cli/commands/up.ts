// `violin up`: a whole aggregate in the foreground.
import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import { parseRate, standardRate, type Rate } from '../../am-plugin/rate-limit.js'
import { explain } from '../../base/errors.js'
import { limits } from '../../base/limits.js'
import { readPlace } from '../../base/source.js'
import { parseSize, shownSize } from '../../base/sizes.js'
import { realClock } from '../../base/time.js'
import { parseUrn } from '../../base/urn.js'
import { formatDuration, parseDuration } from '../../rspec/duration.js'
import { parseQuotas, standardQuotas, type Quotas } from '../../slices/quota.js'
import type { SnapshotMode } from '../../snapshots/needs.js'
import type { Surroundings } from '../surroundings.js'
import { startAggregate } from '../up/aggregate.js'

export const snapshotModes: SnapshotMode[] = ['live', 'stop', 'drop', 'uncoordinated']

/** A timer knows no longer one. */
const longestOutliveMs = 20 * 86_400_000

interface UpFlags {
  state: string
  listen: { host: string; port: number }
  publicUrl?: string
  trust?: string[]
  acceptSha1?: boolean
  tool?: string[]
  snapshotMode?: SnapshotMode
  redis?: string
  authority: string
  hypervisor: 'qemu' | 'simulated'
  accelerator: 'auto' | 'kvm' | 'tcg'
  quota: Quotas
  freeFloor: number
  sources?: string[]
  imageCache: number
  images?: string
  metrics?: { host: string; port: number }
  webhook?: string
  outlive: number
  rateLimit?: Rate | 'none'
  operator?: string[]
}

export function upCommand(at: Surroundings): Command {
  return new Command('up')
    .description('start an aggregate on this machine and serve until Ctrl-C')
    .option('--state <dir>', 'where it keeps what must last', at.stateFolder)
    .option('--listen <host:port>', 'address of the AM API', parseListen, { host: '127.0.0.1', port: 8443 })
    .option('--public-url <url>', 'how clients name this aggregate; goes into its certificate when one is made')
    .option('--trust <pem...>',
      'files or folders of trusted roots and CRLs, read anew when they change; without it a test federation is made in the state folder')
    .option('--accept-sha1', 'take certificates that are signed with SHA-1: old federations have no others, and with effort they can be forged')
    .option('--tool <urn...>', 'tools that may speak for users although their URN is not of type tool')
    .addOption(new Option('--snapshot-mode <mode>', 'how snapshots are taken (default: live where this machine can, else stop)').choices(snapshotModes))
    .option('--redis <url>', 'a Redis of your own (7 or later, or Valkey) in place of a private one')
    .option('--authority <name>', 'our part of the name space', 'violin.localhost')
    .addOption(hypervisorOption())
    .addOption(new Option('--accelerator <name>', 'how VMs run; auto boots a guest on KVM to see whether it works')
      .choices(['auto', 'kvm', 'tcg']).default('auto'))
    .addOption(quotaOption())
    .addOption(new Option('--free-floor <bytes>', 'no snapshot begins with less than this free, such as 2G')
      .argParser(parseAmount).default(limits.freeFloorBytes, shownSize(limits.freeFloorBytes)))
    .option('--metrics <[host:]port>', 'figures for Prometheus at http://HOST:PORT/metrics (host: 127.0.0.1); without it there are none', parseMetrics)
    .addOption(new Option('--outlive <duration>', 'how long VMs run on when this is killed and not started again')
      .argParser(parseOutlive).default(limits.outliveMs, formatDuration(limits.outliveMs)))
    .option('--sources <url,...>', 'places (https, file) below which users may have archives and disk images fetched; without it none', parseSources)
    .option('--images <dir>', 'raw and qcow2 disk images that everybody may name (default: images.d in the state folder)')
    .addOption(new Option('--image-cache <bytes>', 'what is kept of disk images that were fetched, and the most that one may have')
      .argParser(parseAmount).default(limits.imageCacheBytes, shownSize(limits.imageCacheBytes)))
    .option('--webhook <url>', 'where every event of every slice is posted to, as JSON', parseWebhook)
    .option('--operator <urn...>', 'users who may act on every slice, as violin slices and violin shutdown do', parseOperator)
    .option('--rate-limit <calls[/burst]>', `calls a second that each caller may make, and how many at once after a pause; none lifts it ` +
      `(default: ${standardRate.perSecond}/${standardRate.burst})`, parseRateLimit)
    .addHelpText('after', '\nPrints one line, "ready https://HOST:PORT/am/3.0", when it serves. Logs are in STATE/log.')
    .action(async (flags: UpFlags) => {
      const say = (line: string) => process.stderr.write(`violin up: ${line}\n`)
      const interrupted = new Promise<void>((resolve) => {
        // a second one must not end us half way and leave switch and VMs behind: it is heard and changes nothing
        process.on('SIGINT', () => resolve())
        process.on('SIGTERM', () => resolve())
      })
      const aggregate = await startAggregate({
        ...flags, quotas: flags.quota, freeFloorBytes: flags.freeFloor, imageCacheBytes: flags.imageCache, outliveMs: flags.outlive, trust: flags.trust ?? [],
        snapshotMode: flags.snapshotMode ?? (flags.hypervisor === 'simulated' ? 'live' : bestMode(say)),
        ...(flags.operator ? { operators: flags.operator } : {}),
        ...(flags.rateLimit ? { rate: flags.rateLimit } : {}),
        ...(flags.redis ? { redisUrl: flags.redis } : {}), program: at.program, imageFolder: at.imageFolder, software: at.software, env: at.env,
      }, realClock, say)
      process.stdout.write(`ready ${aggregate.url}\n`)
      await interrupted
      say('stopping')
      await aggregate.stop()
      say('stopped: no process, socket or VM is left')
    })
}

export const hypervisorOption = (): Option =>
  new Option('--hypervisor <name>', 'real VMs, or simulated ones that need no QEMU: small processes on the same switch')
    .choices(['qemu', 'simulated']).default('qemu')

function quotaOption(): Option {
  const text = 'bounds for each slice and each user: slice-vms, slice-memory (MiB, or 8G), slice-snapshots-bytes (20G), ' +
    'the same three with user-, user-slices, user-images, user-images-bytes and user-fetched-bytes; none lifts one'
  return new Option('--quota <key=value,...>', text).argParser(parseQuota)
    .default(standardQuotas, Object.entries(standardQuotas).map((quota) => quota.join('=')).join())
}

/** Live snapshots need userfaultfd: root, or vm.unprivileged_userfaultfd=1. */
export function bestMode(say: (line: string) => void): SnapshotMode {
  const allowed = process.geteuid?.() === 0 || readFlag('/proc/sys/vm/unprivileged_userfaultfd') === '1'
  if (allowed) return 'live'
  say('snapshots will be taken in stop mode (VMs stand while their memory is written); for live mode run: sudo sysctl vm.unprivileged_userfaultfd=1')
  return 'stop'
}

function readFlag(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}

export function parseListen(text: string): { host: string; port: number } {
  const m = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(text)
  const port = Number(m?.[2])
  if (!m || port > 65_535) throw new InvalidArgumentError(`${text} is not HOST:PORT`)
  return { host: m[1]!.replace(/^\[|\]$/g, ''), port } // brackets belong to URLs, not to addresses
}

export function parseMetrics(text: string): { host: string; port: number } {
  const { host, port } = /^\d+$/.test(text) ? parseListen(`127.0.0.1:${text}`) : parseListen(text)
  if (port === 0) throw new InvalidArgumentError(`${text} names no port: choose one from 1 to 65535`)
  return { host, port }
}

export function parseOutlive(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms < 1000 || ms > longestOutliveMs) {
    throw new InvalidArgumentError(`${text} is no duration from PT1S to ${formatDuration(longestOutliveMs)}, such as PT12H`)
  }
  return ms
}

export function parseWebhook(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new InvalidArgumentError(`${text.slice(0, 80)} is no URL such as https://ops.example.org/violin`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('a name or password in it is not sent: put a secret into its path or query')
  }
  return url.href
}

export function parseSources(text: string): string[] {
  return text.split(',').map((part) => {
    const place = readPlace(part)
    if (place === undefined) throw new InvalidArgumentError(`${part.slice(0, 80)} is no place such as https://files.example.org/geni/ or file:///srv/geni/`)
    return place
  })
}

function parseQuota(text: string, before: Quotas): Quotas {
  try {
    return parseQuotas(text, before)
  } catch (error) {
    throw new InvalidArgumentError(explain(error))
  }
}

export function parseOperator(text: string, before: string[] = []): string[] {
  if (parseUrn(text)?.type !== 'user') throw new InvalidArgumentError(`${text.slice(0, 120)} is no URN of a user, as urn:publicid:IDN+lab.example+user+alice`)
  return [...before, text]
}

export function parseRateLimit(text: string): Rate | 'none' {
  const rate = parseRate(text)
  if (!rate) throw new InvalidArgumentError(`${text.slice(0, 40)} is none of CALLS, CALLS/BURST (as 50/500, calls a second and at once) and none`)
  return rate
}

function parseAmount(text: string): number {
  const bytes = parseSize(text)
  if (bytes === undefined) throw new InvalidArgumentError(`${text.slice(0, 40)} is no amount of bytes, such as 2G or 500M`)
  return bytes
}
