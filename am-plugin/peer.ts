// The certificates a client has shown, as bytes. Nothing is concluded from them here.
import type { Socket } from 'node:net'
import { TLSSocket, type DetailedPeerCertificate } from 'node:tls'

/** No chain of authorities is longer. */
const longest = 10
const known = new WeakMap<TLSSocket, Buffer[]>()

/** The client's chain in DER, leaf first, each issued by the next; empty when it sent no certificate. */
export function peerChain(socket: Socket): Buffer[] {
  if (!(socket instanceof TLSSocket)) return []
  let chain = known.get(socket) // a connection has one handshake, so one chain
  if (!chain) {
    chain = readChain(socket)
    known.set(socket, chain)
  }
  return chain
}

function readChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = []
  let certificate: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true)
  while (certificate?.raw && chain.length < longest) {
    chain.push(certificate.raw)
    const issuer: DetailedPeerCertificate | undefined = certificate.issuerCertificate
    if (issuer === certificate || chain.some((seen) => issuer?.raw && seen.equals(issuer.raw))) break // self-signed: the end
    certificate = issuer
  }
  return chain
}
