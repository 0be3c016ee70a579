/** Keeps errors of one kind from becoming a storm: the first is told at once, the others by their number. */

/**
 * Milliseconds for which errors of a kind are only counted, after one was told. A state has ended when there
 * was none for so long.
 */
const PAUSE = 1000

/** A topic for a message. */
export function quote(topic: string): string {
  return JSON.stringify(topic.length > 60 ? `${topic.slice(0, 60)}…` : topic)
}

/** Makes the error for so many events. `isMore`: others of the same state were told before. */
type MakeError = (count: number, isMore: boolean) => Error

interface Kind {
  /** Those that were not told. */
  count: number
  /** What the last of them would have said. */
  make: MakeError
  /** Whether they are told when there are no more of them, and not with each pause. */
  readonly isState: boolean
  /** When the last of them came, by `performance.now()`. */
  last: number
}

export class Complaints {
  readonly #report: (error: Error) => void
  readonly #kinds = new Map<string, Kind>()
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(report: (error: Error) => void) {
    this.#report = report
  }

  /** Tells so many events at once, or within a second, together with others of their kind. */
  add(kind: string, count: number, make: MakeError): void {
    this.#add(kind, count, make, false)
  }

  /**
   * The same for what lasts: the first is told at once, and all others when there was none for a second. So
   * there are two errors for each time that it lasts, however long that is; one, where it was one event.
   */
  addByState(kind: string, count: number, make: MakeError): void {
    this.#add(kind, count, make, true)
  }

  /** Tells at once what was not told. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    for (const { count, make } of this.#kinds.values()) if (count > 0) this.#report(make(count, true))
    this.#kinds.clear()
  }

  #add(name: string, count: number, make: MakeError, isState: boolean): void {
    const known = this.#kinds.get(name)
    if (known !== undefined) {
      known.count += count
      known.make = make
      known.last = performance.now()
      return
    }
    const kind = { count: 0, make, isState, last: performance.now() }
    this.#kinds.set(name, kind)
    this.#pause(name, kind, PAUSE)
    this.#report(make(count, false))
  }

  #pause(name: string, kind: Kind, milliseconds: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      const left = kind.last + PAUSE - performance.now()
      if (kind.isState && left > 0) {
        this.#pause(name, kind, left)
        return
      }
      const { count, make } = kind
      kind.count = 0
      // What comes from here on is a state of its own.
      if (count === 0 || kind.isState) this.#kinds.delete(name)
      else this.#pause(name, kind, PAUSE)
      if (count > 0) this.#report(make(count, true))
    }, milliseconds).unref()
    this.#timers.add(timer)
  }
}
