// Which port of a LAN leads to an address. Soft state: it is born with a run and dies with it.

export class MacTable {
  private readonly portOf = new Map<string, number>()

  learn(lan: string, source: Buffer, port: number): void {
    if ((source[0]! & 1) === 1) return // a group address is nobody's
    const key = this.key(lan, source)
    if (this.portOf.size >= 65_536 && !this.portOf.has(key)) this.portOf.clear() // a guest that invents addresses costs flooding, not memory
    this.portOf.set(key, port)
  }

  /** The port for a unicast address; undefined for broadcast, multicast and the unknown: flood. */
  lookup(lan: string, destination: Buffer): number | undefined {
    if ((destination[0]! & 1) === 1) return undefined
    return this.portOf.get(this.key(lan, destination))
  }

  forget(port: number): void {
    for (const [key, p] of this.portOf) if (p === port) this.portOf.delete(key)
  }

  private key(lan: string, mac: Buffer): string {
    return `${mac.toString('latin1')}${lan}`
  }
}
