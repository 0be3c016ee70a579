/**
 * The sockets of one route, each of which comes due the same time after it was added. So they come due in the
 * order in which they were added, and one timer for the first of them is enough, however many there are. A
 * message costs nothing.
 */
export abstract class DueQueue<M> {
  readonly #milliseconds: number
  /** When each comes due, on the clock of `performance.now`; in that order. */
  readonly #deadlines = new Map<M, number>()
  /** Of the first. While `#serve` runs, the one that has brought it. */
  #timer: NodeJS.Timeout | undefined

  constructor(seconds: number) {
    this.#milliseconds = seconds * 1000
  }

  /** Its time is up, and it is here no longer. It may be added again; must not throw. */
  protected abstract due(member: M): void

  add(member: M): void {
    this.#deadlines.set(member, performance.now() + this.#milliseconds)
    if (this.#timer === undefined) this.#wait(this.#milliseconds)
  }

  /** Of whatever member, also one that is not here. */
  delete(member: M): void {
    // A timer that then finds nothing due goes on with whichever is the first now.
    if (this.#deadlines.delete(member) && this.#deadlines.size === 0) this.#stop()
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #wait(milliseconds: number): void {
    this.#stop()
    // Rounded up: a timer of less than a millisecond would fire too early, and again. Open connections keep
    // the process alive by themselves.
    this.#timer = setTimeout(() => this.#serve(), Math.ceil(milliseconds)).unref()
  }

  #serve(): void {
    for (const [member, deadline] of this.#deadlines) {
      const left = deadline - performance.now()
      if (left > 0) {
        this.#wait(left)
        return
      }
      this.#deadlines.delete(member)
      this.due(member)
    }
    this.#stop()
  }
}
