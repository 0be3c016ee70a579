/** Counts how often a value was at most so and so much, as Prometheus' histograms do. */
export class Histogram {
  /** Upper bounds of the buckets, ascending; one more bucket has no bound. */
  readonly bounds: readonly number[]
  /** For each bucket, values in it alone. */
  readonly #counts: number[]
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.#counts = new Array<number>(bounds.length + 1).fill(0)
  }

  get sum(): number {
    return this.#sum
  }

  /** `weight` is how many values this one stands for. */
  observe(value: number, weight = 1): void {
    const { bounds } = this
    let bucket = 0
    while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket += 1
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + weight
    this.#sum += value * weight
  }

  /** For each bound, values up to it; last, all values. */
  cumulative(): number[] {
    let total = 0
    return this.#counts.map((count) => {
      total += count
      return total
    })
  }
}
