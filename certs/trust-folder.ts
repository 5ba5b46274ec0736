// The trusted roots as the operator keeps them: PEM files and folders of them, with CRLs among them. What is added or
// taken away there counts a second later; one file that is broken costs only itself.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { explain, Refusal } from '../base/errors.js'
import { parseCertificate, splitPem, type Certificate } from './certificate.js'
import { crlBytes, crlsInPem, parseCrl, type Crl } from './crl.js'
import { trustOf, type TrustStore } from './trust.js'

export interface TrustFile { file: string; certificates: Certificate[]; crls: Crl[]; why?: string }

/** Files of a folder that are read; others (a README) may lie there too. */
const fileForm = /\.(?:pem|crt|cer|crl|der)$/i
const fileLimit = 2_000

/** Reads PEM or DER files, and folders of them (not below), as trusted. Refuses when one cannot be read. */
export function loadTrust(paths: readonly string[], more: { acceptSha1?: boolean } = {}): TrustStore {
  const files = paths.flatMap(filesAt).map(readTrustFile)
  const broken = files.find((f) => f.why !== undefined)
  if (broken !== undefined) throw new Refusal('bad-arguments', broken.why!)
  return storeOf(files, more.acceptSha1 ?? false)
}

export interface TrustFolderOptions {
  paths: readonly string[]
  acceptSha1: boolean
  /** ms of a clock that only goes forward. */
  monotonic: () => number
  /** Told once for each change of the files. */
  warn: (why: string) => void
  changed: (store: TrustStore) => void
}

const lookMs = 1_000

/** The trusted certificates of now. `store()` looks at the files at most once a second, and reads them when they changed. */
export class TrustFolder {
  private readonly options: TrustFolderOptions
  private seen = ''
  private looked = -Infinity
  private files: TrustFile[] = []
  private current = trustOf([])

  /** Refuses when a path cannot be looked at: at the start that is a slip of the operator. */
  constructor(options: TrustFolderOptions) {
    this.options = options
    options.paths.forEach(filesAt)
    this.look()
  }

  store(): TrustStore {
    if (this.options.monotonic() - this.looked >= lookMs) this.look()
    return this.current
  }

  private look(): void {
    this.looked = this.options.monotonic()
    const places = this.options.paths.map((path) => {
      const place = { path, files: [] as string[], why: undefined as string | undefined }
      attempt(() => { place.files = filesAt(path) }, (why) => { place.why = why })
      return place
    })
    const seen = places.flatMap(({ files, why }) => why ?? files.map(stampOf)).join('\n')
    if (seen === this.seen) return
    this.seen = seen
    this.files = places.flatMap(({ path, files, why }) => (why === undefined ? files.map((file) => this.read(file)) : this.without(path, why)))
    for (const why of new Set(this.files.flatMap((f) => f.why ?? []))) this.options.warn(why)
    this.current = storeOf(this.files, this.options.acceptSha1)
    if (this.current.certificates.length === 0) this.options.warn('no certificate is trusted, so every call but GetVersion is refused')
    this.options.changed(this.current)
  }

  /** A list that is just being rewritten cannot be read: nobody comes back in for that moment. */
  private read(file: string): TrustFile {
    const now = readTrustFile(file)
    return now.why === undefined ? now : { ...now, crls: this.files.find((f) => f.file === file)?.crls ?? [] }
  }

  /** Nor for the time in which a whole folder cannot be looked at. */
  private without(path: string, why: string): TrustFile[] {
    const kept = this.files.filter((f) => f.file === path || f.file.startsWith(join(path, '/')))
    return [{ file: path, certificates: [], crls: [], why }, ...kept.filter((f) => f.file !== path).map((f) => ({ ...f, certificates: [] }))]
  }
}

function storeOf(files: readonly TrustFile[], acceptSha1: boolean): TrustStore {
  const certificates = new Map(files.flatMap((f) => f.certificates.map((c) => [c.fingerprint, c] as const)))
  return trustOf([...certificates.values()], { crls: files.flatMap((f) => f.crls), acceptSha1 })
}

function attempt(work: () => void, refused: (why: string) => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    refused(explain(error))
  }
}

/** Changes whenever somebody writes to the file or puts another one in its place. */
function stampOf(file: string): string {
  const s = statSync(file, { bigint: true, throwIfNoEntry: false })
  return s === undefined ? `${file} is gone` : `${file} ${s.ino} ${s.size} ${s.mtimeNs} ${s.ctimeNs}`
}

function filesAt(path: string): string[] {
  let files: string[]
  try {
    files = statSync(path).isDirectory() ? readdirSync(path).filter((n) => fileForm.test(n)).sort().map((n) => join(path, n)) : [path]
  } catch (cause) {
    throw new Refusal('bad-arguments', `cannot read the trusted certificates at ${path}; give a PEM file or a folder of them`, { cause })
  }
  if (files.length > fileLimit) throw new Refusal('bad-arguments', `${path} has ${files.length} files of certificates; at most ${fileLimit} are read`)
  return files
}

/** What is in one file; with `why` it is broken as a whole, and nothing in it counts. */
export function readTrustFile(file: string): TrustFile {
  try {
    const bytes = readFileSync(file)
    if (bytes.length > crlBytes) throw new Refusal('bad-arguments', `it has ${bytes.length} bytes; at most ${crlBytes} are read`)
    return { file, ...contentOf(bytes) }
  } catch (cause) {
    const why = `cannot read ${file} as trusted certificates or a CRL, so nothing in it counts; give PEM files: ${explain(cause)}`
    return { file, certificates: [], crls: [], why }
  }
}

function contentOf(bytes: Buffer): { certificates: Certificate[]; crls: Crl[] } {
  const text = bytes.toString('latin1')
  if (!text.includes('-----BEGIN ')) return inDer(bytes)
  // one by one, so that a bundle of many roots in one file is not bounded like a chain
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  if (blocks.length !== text.split('-----BEGIN CERTIFICATE-----').length - 1) throw new Refusal('bad-arguments', 'a certificate in it is cut off')
  const crls = crlsInPem(text)
  if (crls.length !== text.split('-----BEGIN X509 CRL-----').length - 1) throw new Refusal('bad-arguments', 'a CRL in it is cut off')
  if (blocks.length + crls.length === 0) throw new Refusal('bad-arguments', 'there is neither a certificate nor a CRL in it')
  return { certificates: blocks.map((pem) => parseCertificate(splitPem(pem)[0]!)), crls }
}

function inDer(bytes: Buffer): { certificates: Certificate[]; crls: Crl[] } {
  try {
    return { certificates: [parseCertificate(bytes)], crls: [] }
  } catch (asCertificate) {
    try {
      return { certificates: [], crls: [parseCrl(bytes)] }
    } catch {
      throw asCertificate
    }
  }
}
