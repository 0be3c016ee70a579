/**
 * Closes the sockets of one route when they have lived for its `maxLifetime`. All have the same time, so they come due in the order in
 * which they came, and one timer for the first of them is enough, however many there are. A message costs nothing.
 */

/** RFC 6455, section 7.4.1: 1000, the purpose of the connection has been fulfilled. */
const CLOSE_CODE = 1000
const CLOSE_REASON = 'maximum lifetime reached'

/** What is closed here. */
export interface Mortal {
  close(code: number, reason: string): void
}

export class LifetimeLimit<S extends Mortal> {
  readonly #milliseconds: number
  /** When each socket comes due, on the clock of `performance.now`; in that order. */
  readonly #deadlines = new Map<S, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(seconds: number) {
    this.#milliseconds = seconds * 1000
  }

  add(socket: S): void {
    this.#deadlines.set(socket, performance.now() + this.#milliseconds)
    if (this.#timer === undefined) this.#wait(this.#milliseconds)
  }

  /** Of whatever socket, from whatever route. */
  delete(socket: S): void {
    // A timer that then finds nothing due goes on with whoever is the first now.
    if (this.#deadlines.delete(socket) && this.#deadlines.size === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    }
  }

  #wait(milliseconds: number): void {
    // Open connections keep the process alive by themselves.
    this.#timer = setTimeout(() => this.#closeDue(), milliseconds).unref()
  }

  #closeDue(): void {
    this.#timer = undefined
    for (const [socket, deadline] of this.#deadlines) {
      const left = deadline - performance.now()
      if (left > 0) {
        // Rounded up: a timer of less than a millisecond would fire too early, and again.
        this.#wait(Math.ceil(left))
        return
      }
      this.#deadlines.delete(socket)
      socket.close(CLOSE_CODE, CLOSE_REASON)
    }
  }
}
