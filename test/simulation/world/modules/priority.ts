// Nobody runs first in a simulation: there is one thread, and time stands still while it works.
export const setUrgency = (): void => undefined
export const threadsOf = (): number[] => []
export const lead = (): void => undefined
export const stopLeading = (): void => undefined
