/** Keeps errors of one kind from becoming a storm: the first is told at once, the others by their number. */

/** Milliseconds for which errors of a kind are only counted, after one was told. */
const PAUSE = 1000

/** A topic for a message. */
export function quote(topic: string): string {
  return JSON.stringify(topic.length > 60 ? `${topic.slice(0, 60)}…` : topic)
}

interface Kind {
  /** Those that were not told. */
  count: number
  /** What the last of them would have said. */
  make: (count: number) => Error
}

export class Complaints {
  readonly #report: (error: Error) => void
  readonly #kinds = new Map<string, Kind>()
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(report: (error: Error) => void) {
    this.#report = report
  }

  /** `make` makes the error for so many events of this kind. */
  add(kind: string, count: number, make: (count: number) => Error): void {
    const known = this.#kinds.get(kind)
    if (known !== undefined) {
      known.count += count
      known.make = make
      return
    }
    this.#kinds.set(kind, { count: 0, make })
    this.#pause(kind)
    this.#report(make(count))
  }

  /** Tells at once what was not told. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    for (const { count, make } of this.#kinds.values()) if (count > 0) this.#report(make(count))
    this.#kinds.clear()
  }

  #pause(kind: string): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      const { count = 0, make } = this.#kinds.get(kind) ?? {}
      if (count === 0 || make === undefined) {
        this.#kinds.delete(kind)
        return
      }
      this.#kinds.set(kind, { count: 0, make })
      this.#pause(kind)
      this.#report(make(count))
    }, PAUSE).unref()
    this.#timers.add(timer)
  }
}
