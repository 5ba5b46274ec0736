// The dice of a world: everything that is left to chance in a simulation comes from here, so one seed gives one run.

export class Dice {
  private a: number
  private b: number
  private c: number
  private d = 1

  constructor(seed: number) {
    this.a = seed >>> 0
    this.b = Math.floor(seed / 0x1_0000_0000) >>> 0
    this.c = 0x9e37_79b9
    for (let i = 0; i < 16; i++) this.next()
  }

  /** A fraction from 0 to 1, without 1 (sfc32). */
  fraction(): number { return this.next() / 4_294_967_296 }
  int(below: number): number { return Math.floor(this.fraction() * below) }
  between(low: number, high: number): number { return low + this.fraction() * (high - low) }
  chance(p: number): boolean { return this.fraction() < p }
  pick<T>(from: readonly T[]): T { return from[this.int(from.length)]! }

  bytes(count: number): Buffer {
    const out = Buffer.alloc(count)
    for (let i = 0; i < count; i++) out[i] = this.next() & 0xff
    return out
  }

  private next(): number {
    const t = (((this.a + this.b) | 0) + this.d) | 0
    this.d = (this.d + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0
    return t >>> 0
  }
}
