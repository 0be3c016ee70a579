/** Members that come due in one turn: many that were added together leave the loop to others in between. */
const MAX_AT_ONCE = 256

/**
 * The sockets of one route, each of which comes due the same time after it was added. So the sockets come due
 * in the order in which they were added, and one timer for the first socket is enough, however many there
 * are. A message costs nothing.
 */
export abstract class DueQueue<M> {
  readonly #milliseconds: number
  /** When each member comes due, on the clock of `performance.now`; in that order. */
  readonly #deadlines = new Map<M, number>()
  /** The timer of the first member. While `#serve` runs, the timer that has called it. */
  #timer: NodeJS.Timeout | undefined

  constructor(seconds: number) {
    this.#milliseconds = seconds * 1000
  }

  /** The member's time is up, and the member was taken out. It may be added again; `due` must not throw. */
  protected abstract due(member: M): void

  add(member: M): void {
    this.#deadlines.set(member, performance.now() + this.#milliseconds)
    if (this.#timer === undefined) this.#wait(this.#milliseconds)
  }

  /** Does nothing for a member that is not here. */
  delete(member: M): void {
    // A timer that finds nothing due is set again for the member that is now the first.
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
    let served = 0
    for (const [member, deadline] of this.#deadlines) {
      const left = deadline - performance.now()
      if (left > 0 || served === MAX_AT_ONCE) {
        this.#wait(Math.max(left, 0))
        return
      }
      served += 1
      this.#deadlines.delete(member)
      this.due(member)
    }
    this.#stop()
  }
}
