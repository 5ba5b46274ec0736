// A machine that always has the same memory free.
export const freemem = (): number => 8 * 1024 ** 3
export const totalmem = (): number => 16 * 1024 ** 3
