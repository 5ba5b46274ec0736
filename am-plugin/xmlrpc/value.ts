// What XML-RPC can carry between us and GENI clients. No nil, no dates, no bytes: rule 4 of the protocol reference
// forbids them in answers, and what clients send of them is turned into text when it is read.

export type Value = string | number | boolean | Value[] | Struct
export interface Struct { [member: string]: Value }

export type Answer = { kind: 'value'; value: Value } | { kind: 'fault'; code: number; message: string }

/** Names of struct members: long enough for any GENI option. */
export const maxMemberName = 256

/** Setting a member of this name changes an ordinary object's prototype, so it is never read or written. */
export const forbiddenMember = '__proto__'

/** A map without a prototype: a member named `constructor` or `toString` is there only if somebody sent it. */
export function emptyStruct(): Struct {
  return Object.create(null) as Struct
}

export function isStruct(value: Value | undefined): value is Struct {
  return typeof value === 'object' && !Array.isArray(value)
}
