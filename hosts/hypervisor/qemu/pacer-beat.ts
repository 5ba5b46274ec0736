// What the pacer and its thread have in common: numbers in shared memory, so that neither waits for the other, and the beat.

/** Where what is: 1 when the thread may pace; how many threads are paced; from `first` on their ids. */
export const beat = { state: 0, count: 1, first: 2 } as const
/** Threads that are paced at the same time. */
export const most = 1_022
export interface PacerStart { shared: Int32Array; lanes: number }

/** One thread at a time is first for so long. It serves a page in some 20 us. */
export const slotUs = 400
const leastGapUs = 800

/** Between two rounds of that many slots: at most half of `lanes` processors is taken by force. */
export const gapUs = (slots: number): number => Math.max(leastGapUs, slots * slotUs)
