// What a bench says of its samples: never a mean alone.
export interface Distribution { n: number; min: number; median: number; p90: number; p99: number; max: number }

export function distribution(samples: number[]): Distribution {
  const sorted = samples.filter((x) => !Number.isNaN(x)).sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
  return { n: sorted.length, min: at(0), median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}
