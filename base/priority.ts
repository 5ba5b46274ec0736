// The processes that a stopped VM waits for go first: a millisecond of theirs is a millisecond of every pause.
import { setPriority } from 'node:os'

/** Raises this process above ordinary ones where that is allowed (root); else it stays as it is. */
export function goFirst(): boolean {
  try {
    setPriority(-10)
    return true
  } catch {
    return false
  }
}
