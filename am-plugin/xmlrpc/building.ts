// The grammar of XML-RPC as a stack of open elements: which element may stand in which, what each is worth when it
// closes. Iterative, so that no nesting can exhaust the stack.
import { Refusal } from '../../base/errors.js'
import { printable } from '../../base/ascii.js'
import { readScalar, scalarTypes } from './scalar.js'
import { emptyStruct, forbiddenMember, maxMemberName, type Struct, type Value } from './value.js'

export interface Frame {
  tag: string
  text: string
  /** A child element has been seen. */
  full: boolean
  /** How many values or members have been opened in it. */
  members: number
  value?: Value
  name?: string
  params?: Value[]
  items?: Value[]
  struct?: Struct
  method?: string
  fault?: Value
}

/** `text`: characters of one string; `members`: of one array or struct; `values`: of all together. */
export interface Bounds { depth: number; values: number; text: number; members: number }

const mayHold: Record<string, readonly string[]> = {
  '': ['methodCall', 'methodResponse'],
  methodCall: ['methodName', 'params'],
  methodResponse: ['params', 'fault'],
  params: ['param'],
  param: ['value'],
  fault: ['value'],
  value: [...scalarTypes, 'array', 'struct'],
  array: ['data'],
  data: ['value'],
  struct: ['member'],
  member: ['name', 'value'],
}
/** Elements whose text counts; elsewhere only blank space may stand. */
const texts = new Set(['methodName', 'name', 'value', ...scalarTypes])
const blank = /^[ \t\r\n]*$/

export class Building {
  private readonly stack: Frame[] = [{ tag: '', text: '', full: false, members: 0 }]
  private readonly root: string
  private readonly bounds: Bounds
  private values = 0

  constructor(root: string, bounds: Bounds) {
    this.root = root
    this.bounds = bounds
  }

  open(tag: string, line: number): void {
    const top = this.stack.at(-1)!
    if (top.tag === '' && tag !== this.root) throw bad(`expected <${this.root}>, not ${shown(tag)}`, line)
    if (!(Object.hasOwn(mayHold, top.tag) && mayHold[top.tag]!.includes(tag))) {
      throw bad(`${shown(tag)} cannot stand in <${top.tag}>`, line)
    }
    if (this.stack.length > this.bounds.depth) throw tooMuch(`elements are nested deeper than ${this.bounds.depth}`, line)
    if (tag === 'value' && ++this.values > this.bounds.values) throw tooMuch(`there are more than ${this.bounds.values} values`, line)
    if ((tag === 'member' || top.tag === 'data') && ++top.members > this.bounds.members) {
      throw tooMuch(`an array or struct has more than ${this.bounds.members} members`, line)
    }
    if (top.tag === 'value' && (top.full || !blank.test(top.text))) throw bad('a <value> holds more than one value', line)
    top.full = true
    this.stack.push({ tag, text: '', full: false, members: 0 })
  }

  text(more: string, line: number): void {
    const top = this.stack.at(-1)!
    const counts = texts.has(top.tag) && !(top.tag === 'value' && top.full)
    if (counts) {
      if (top.text.length + more.length > this.bounds.text) throw tooMuch(`a string is longer than ${this.bounds.text} characters`, line)
      top.text += more
    } else if (!blank.test(more)) throw bad(`text cannot stand in <${top.tag}>`, line)
  }

  close(line: number): void {
    const frame = this.stack.pop()!
    const parent = this.stack.at(-1)!
    try {
      closers[frame.tag]!(frame, parent)
    } catch (error) {
      throw error instanceof Refusal ? bad(error.message, line) : error
    }
  }

  /** The root's frame, after the end of the text. */
  result(): Frame {
    return this.stack[0]!
  }
}

type Closer = (frame: Frame, parent: Frame) => void

const scalar: Closer = (frame, parent) => { parent.value = readScalar(frame.tag, frame.text) }

const closers: Record<string, Closer> = {
  ...Object.fromEntries(scalarTypes.map((type) => [type, scalar])),
  methodCall: carryUp,
  methodResponse: carryUp,
  methodName: (frame, parent) => {
    once(parent.method, 'methodName')
    parent.method = frame.text
  },
  params: (frame, parent) => {
    once(parent.params ?? parent.fault, 'params')
    parent.params = frame.params ?? []
  },
  param: (frame, parent) => { (parent.params ??= []).push(needed(frame.value, 'param')) },
  fault: (frame, parent) => {
    once(parent.params ?? parent.fault, 'fault')
    parent.fault = needed(frame.value, 'fault')
  },
  value: (frame, parent) => {
    const value = frame.full ? needed(frame.value, 'value') : frame.text // an untyped value is a string
    if (parent.tag === 'data') {
      (parent.items ??= []).push(value)
      return
    }
    once(parent.value, 'value')
    parent.value = value
  },
  data: (frame, parent) => {
    once(parent.items, 'data')
    parent.items = frame.items ?? []
  },
  array: (frame, parent) => {
    if (!frame.items) throw new Refusal('bad-arguments', 'an <array> has no <data>')
    parent.value = frame.items
  },
  name: (frame, parent) => {
    once(parent.name, 'name')
    parent.name = frame.text
  },
  member: addMember,
  struct: (frame, parent) => { parent.value = frame.struct ?? emptyStruct() },
}

function carryUp(frame: Frame, parent: Frame): void {
  Object.assign(parent, frame, { tag: '' })
}

function addMember(frame: Frame, parent: Frame): void {
  const { name } = frame
  if (name === undefined) throw new Refusal('bad-arguments', 'a <member> has no <name>')
  if (name === forbiddenMember || name.length > maxMemberName) throw new Refusal('bad-arguments', `${shown(name)} is no name for a member`)
  const struct = (parent.struct ??= emptyStruct())
  if (name in struct) throw new Refusal('bad-arguments', `the member ${shown(name)} stands twice in one <struct>`)
  struct[name] = needed(frame.value, 'member')
}

function once(before: unknown, tag: string): void {
  if (before !== undefined) throw new Refusal('bad-arguments', `<${tag}> stands twice`)
}

function needed(value: Value | undefined, tag: string): Value {
  if (value === undefined) throw new Refusal('bad-arguments', `a <${tag}> is empty`)
  return value
}

function shown(name: string): string {
  return `<${printable(name.slice(0, 40))}>`
}

function bad(message: string, line: number): Refusal {
  return new Refusal('bad-arguments', `line ${line}: ${message}`)
}

/** Well-formed so far, and more than we read: told apart from what is no call at all, since it is answered otherwise. */
function tooMuch(message: string, line: number): Refusal {
  return new Refusal('too-big', `line ${line}: ${message}`)
}
