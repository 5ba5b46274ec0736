// Explains a certificate, a credential or a CRL to a person: what it says, and whether this trust store would accept it.
// What a credential says is read here without believing it; the verdict comes from the same code that guards the door.
import { explain, Refusal } from '../base/errors.js'
import { rfc3339 } from '../base/time.js'
import { keyId, parseCertificate, splitPem, type Certificate } from './certificate.js'
import { verifyCredential } from './credential.js'
import { crlsInPem, parseCrl, verifies, type Crl } from './crl.js'
import { privilegesFor, type Operation } from './privileges.js'
import { verifyStatement } from './speaks-for.js'
import { verifyChain, type TrustStore } from './trust.js'
import { childrenOf, onlyChild, textOf, withXml, type XmlElement } from './xml-dom.js'

export interface Shown {
  kind: 'certificate' | 'credential' | 'crl'
  /** What it says of itself. */
  facts: [name: string, value: string][]
  accepted: boolean
  /** Why it is accepted or not. */
  why: string
}

/** Explains the content of one file. Refuses what is none of these. */
export function show(bytes: Buffer, trust: TrustStore, now: number): Shown {
  const text = bytes.toString('utf8')
  if (/^\s*(?:\uFEFF)?\s*</.test(text)) return showCredential(text, trust, now)
  if (text.includes('-----BEGIN X509 CRL-----')) return showCrl(crlsInPem(text)[0], trust, now)
  if (text.includes('-----BEGIN CERTIFICATE-----')) return showChain(splitPem(text), trust, now)
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) throw bad('this is a private key; show explains certificates, credentials and CRLs')
  try {
    return showChain([bytes], trust, now)
  } catch {
    try {
      return showCrl(parseCrl(bytes), trust, now)
    } catch {
      throw bad('this is neither a certificate, nor a credential, nor a list of revoked certificates')
    }
  }
}

const bad = (why: string) => new Refusal('bad-arguments', why)

function showChain(chain: readonly Buffer[], trust: TrustStore, now: number): Shown {
  const certificates = chain.map((der) => parseCertificate(der))
  const verdict = verifyChain(chain, trust, now)
  const facts = certificates.flatMap((c, i) => certificateFacts(c, i === 0 ? '' : `issuer ${i} `))
  if (!verdict.ok) return { kind: 'certificate', facts, accepted: false, why: verdict.why }
  const root = verdict.path.at(-1)!
  const why = verdict.path.length === 1 ? 'it is itself trusted' : `it was issued by ${verdict.path.slice(1).map(nameOf).join(', by ')}, which is trusted`
  return { kind: 'certificate', facts: [...facts, ['trusted root', root.fingerprint]], accepted: true, why }
}

const nameOf = (c: Certificate) => c.urn ?? c.x509.subject.replace(/\n/g, ', ')

function certificateFacts(c: Certificate, prefix = ''): [string, string][] {
  const bits = c.publicKey.asymmetricKeyDetails
  return ([
    ['urn', c.urn ?? 'none'], ['uuid', c.uuid ?? 'none'], ['email', c.email ?? 'none'],
    ['subject', c.x509.subject.replace(/\n/g, ', ')], ['from', rfc3339(c.notBefore)], ['until', rfc3339(c.notAfter)],
    ['key', `${c.publicKey.asymmetricKeyType ?? 'unknown'} ${bits?.modulusLength ?? bits?.namedCurve ?? ''}`.trim()],
    ['key id', keyId(c.publicKey)], ['signed with', c.signedWith], ['authority', c.isCa ? 'yes: it may issue certificates' : 'no'],
    ['serial', c.serial], ['fingerprint', c.fingerprint],
  ] as [string, string][]).map(([name, value]) => [prefix + name, value])
}

function showCrl(crl: Crl | undefined, trust: TrustStore, now: number): Shown {
  if (crl === undefined) throw bad('the list of revoked certificates in it is cut off')
  const by = trust.certificates.find((c) => verifies(crl, c.publicKey))
  const late = crl.nextUpdate !== undefined && crl.nextUpdate <= now ? '; it is out of date, and counts until a newer one is there' : ''
  return {
    kind: 'crl',
    facts: [
      ['issuer', crl.issuer], ['from', rfc3339(crl.thisUpdate)], ['next', crl.nextUpdate === undefined ? 'not said' : rfc3339(crl.nextUpdate)],
      ...[...crl.revoked].slice(0, 1000).map(([serial, at]): [string, string] => ['revoked', `${serial} at ${rfc3339(at)}`]),
    ],
    accepted: by !== undefined,
    why: by === undefined
      ? 'no trusted certificate has signed it; it counts for what its signer issued when that is an authority below a trusted one'
      : `it was signed by ${nameOf(by)}${late}`,
  }
}

function showCredential(xml: string, trust: TrustStore, now: number): Shown {
  const abac = /<type>\s*abac\s*<\/type>/.test(xml)
  const facts = attempt(() => withXml(xml, (root) => credentialFacts(onlyChild(root, 'credential'), ''))) ?? []
  try {
    if (abac) {
      const { user, toolKey, expires } = verifyStatement(xml, trust, now)
      return { kind: 'credential', facts, accepted: true, why: `${user.urn} lets the tool whose key has the id ${toolKey} speak until ${rfc3339(expires)}` }
    }
    const { signer, ownerUrn, targetUrn, type, expires, privileges, delegatedBy } = verifyCredential(xml, trust, now)
    const names = privileges.map((p) => p.name)
    const calls = (['read', 'change', 'shutdown'] as Operation[]).filter((o) => privilegesFor(o).some((name) => names.includes(name)))
    const rights = type === 'speaksfor'
      ? `${ownerUrn} may speak for ${targetUrn}`
      : `${ownerUrn} may ${['list resources', ...calls].join(', ')} on ${targetUrn}`
    const hands = delegatedBy.length === 0 ? '' : `, handed on by ${delegatedBy.join(', by ')}`
    return { kind: 'credential', facts, accepted: true, why: `${rights} until ${rfc3339(expires)}, says ${signer.urn}${hands}` }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { kind: 'credential', facts, accepted: false, why: explain(error) }
  }
}

/** What stands there, verified or not. */
function credentialFacts(credential: XmlElement, prefix: string): [string, string][] {
  const said = (name: string) => attempt(() => textOf(onlyChild(credential, name)))
  const names = ['type', 'owner_urn', 'target_urn', 'expires', 'serial']
  const facts = names.flatMap((name): [string, string][] => (said(name) ? [[prefix + name.replace('_urn', ''), said(name)!]] : []))
  const privileges = childrenOf(credential, 'privileges').flatMap((list) => childrenOf(list, 'privilege')).map((privilege) => {
    const part = (name: string) => attempt(() => textOf(onlyChild(privilege, name))) ?? '?'
    return part('name') + (/^(?:true|1)$/i.test(part('can_delegate')) ? ' (may be handed on)' : '')
  })
  const parent = childrenOf(credential, 'parent').flatMap((p) => childrenOf(p, 'credential'))[0]
  return [
    ...facts, ...(privileges.length === 0 ? [] : [[`${prefix}privileges`, privileges.join(', ')] as [string, string]]),
    ...(parent === undefined ? [] : credentialFacts(parent, `${prefix}parent `)),
  ]
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return undefined
  }
}
