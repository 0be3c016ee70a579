/** What time it is for the broker, whose ids of entries are times: the clock of this host may be another. */
import { first } from './replies.js'

export class BrokerClock {
  /** Its milliseconds beyond `performance.now()`; undefined where it does not tell its time. */
  #offset: number | undefined
  /** Milliseconds since 1970: at least so late it was. */
  #least = 0

  /** In milliseconds since 1970. */
  get now(): number {
    return this.#offset === undefined ? this.#least : performance.now() + this.#offset
  }

  /** `reply` is one to TIME: seconds and microseconds. */
  told(reply: unknown): void {
    const seconds = Number(first(reply))
    const microseconds = Array.isArray(reply) ? Number(reply[1]) : Number.NaN
    const time = seconds * 1000 + Math.floor(microseconds / 1000)
    if (Number.isFinite(time)) this.#offset = time - performance.now()
  }

  /** An entry was made at this time, in milliseconds since 1970. */
  seen(time: number): void {
    if (time > this.#least) this.#least = time
  }
}
