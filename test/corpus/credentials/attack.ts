// What one entry of the corpus is, on paper.

/** Who calls, with what; each name is a file of this folder. */
export interface Call {
  /** The certificate of the TLS connection. */
  caller: string
  credentials: string[]
  slice: string
  operation?: 'list-resources' | 'read' | 'change' | 'shutdown'
  speakingFor?: string
  /** Trusted besides world/root.pem. */
  trust?: string[]
}

export interface Entry extends Call {
  name: string
  /** In one sentence, what is tried. */
  attack: string
  /** The entry without the attack, which is accepted. */
  unmutated: string
  /** Part of the answer that is expected. */
  reason: string
  /** What Debian's xmlsec1 says of the signature when it is asked as gcf asks it. */
  xmlsec1: 'accepts' | 'refuses'
}

/** One attack as the generator has it; what is not given is as in the unmutated call. */
export interface Draft {
  name: string
  attack: string
  reason: string
  on?: 'slice' | 'delegated' | 'speaks-for'
  xml?: string
  call?: Partial<Call>
}
