// What came in of one numbered flow, as images/bank-common.h counts it: the simulated bank must find what the real one finds
// and overlook what the real one overlooks. The lists are bounded; the counts are not.

/** A count of numbers, of which the first are listed. */
export interface Numbers { count: number; list: number[] }

export interface Tally {
  last: number
  received: number
  early: number
  missing: [number, number][]
  doubled: Numbers
}

const maxListed = 64

export const noNumbers = (): Numbers => ({ count: 0, list: [] })
export const freshTally = (): Tally => ({ last: 0, received: 0, early: 0, missing: [], doubled: noNumbers() })

export function addNumber(numbers: Numbers, number: number): void {
  numbers.count++
  if (numbers.list.length < maxListed) numbers.list.push(number)
}

/** True when it had not come before. */
export function countNumber(tally: Tally, number: number): boolean {
  if (number > tally.last) {
    addMissing(tally, tally.last + 1, number - 1)
    tally.last = number
  } else if (fillMissing(tally, number)) {
    tally.early++ // a later one had come before it
  } else {
    addNumber(tally.doubled, number)
    return false
  }
  tally.received++
  return true
}

function addMissing(tally: Tally, from: number, to: number): void {
  if (from <= to && tally.missing.length < maxListed) tally.missing.push([from, to])
}

function fillMissing(tally: Tally, number: number): boolean {
  const i = tally.missing.findIndex(([from, to]) => number >= from && number <= to)
  if (i < 0) return false
  const [from, to] = tally.missing[i]!
  tally.missing.splice(i, 1)
  addMissing(tally, from, number - 1)
  addMissing(tally, number + 1, to)
  return true
}
