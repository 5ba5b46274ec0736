// Names of users and tools, unlike those of slices, differ by case.
import { parseUrn, sameUrn } from '../base/urn.js'

/** Are these the URNs of one person? */
export function samePerson(a: string, b: string): boolean {
  const one = parseUrn(a)
  const two = parseUrn(b)
  return one !== undefined && two !== undefined && sameUrn(a, b) && one.name === two.name
}
