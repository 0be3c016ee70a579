/**
 * Turns of the event loop on the portable engine: what a connection has had of the present one, and who waits
 * for the next.
 */
import { MAX_BYTES_PER_TURN, MAX_EVENTS_PER_TURN, MAX_REQUESTS_PER_TURN } from './turn-budget.js'

/**
 * Milliseconds of one turn for those who wait, all together: with many of them at once, each gets its share
 * in a later turn, in their order. Ten times what one of them can use up, and little enough for all others
 * not to notice.
 */
const MAX_TIME_FOR_WAITING = 10

/** Goes on in its turn. */
export interface Waiting {
  proceed(): void
}

/** The turns of this thread's event loop. One object for all servers, since they share the loop. */
class Turns {
  /** Changes between two turns, where `watch` was called in the first one. */
  number = 0
  #isWatched = false
  /** In the order in which they go on. */
  readonly #waiting = new Set<Waiting>()

  /**
   * Makes `number` change with the next turn. Who uses little of its budget need not call it: its count goes
   * on where it was.
   */
  watch(): void {
    if (this.#isWatched) return
    this.#isWatched = true
    // Immediates run after everything that the system has reported was handled, so that others come first;
    // one that is set by an immediate runs in the next turn.
    setImmediate(() => this.#begin())
  }

  /** Calls back in the next turn, or in a later one when many wait. */
  wait(waiting: Waiting): void {
    this.#waiting.add(waiting)
    this.watch()
  }

  /** Takes back `wait`. */
  forget(waiting: Waiting): void {
    this.#waiting.delete(waiting)
  }

  #begin(): void {
    this.#isWatched = false
    this.number += 1
    if (this.#waiting.size === 0) return
    const end = performance.now() + MAX_TIME_FOR_WAITING
    let left = this.#waiting.size
    try {
      for (const waiting of this.#waiting) {
        this.#waiting.delete(waiting)
        waiting.proceed()
        left -= 1
        // Those who wait again are at the end of the set.
        if (left <= 0 || performance.now() >= end) break
      }
    } finally {
      if (this.#waiting.size > 0) this.watch()
    }
  }
}

export const turns = new Turns()

/**
 * What one connection has used up of its turn. Bytes that are inflated are not counted here: zlib brings one
 * piece of 16 KiB in a turn (see Inflater).
 */
export class TurnBudget {
  bytes = 0
  requests = 0
  events = 0
  #turn = turns.number

  /** To be called where a piece of work begins: the turn may be another one. */
  renew(): void {
    if (this.#turn === turns.number) return
    this.#turn = turns.number
    this.bytes = 0
    this.requests = 0
    this.events = 0
  }

  /** Whether nothing of what was read may be worked on before the next turn. */
  get isSpent(): boolean {
    return this.events >= MAX_EVENTS_PER_TURN || this.requests >= MAX_REQUESTS_PER_TURN
  }

  /** Whether nothing may be read before the next turn. */
  get hasReadAll(): boolean {
    return this.bytes >= MAX_BYTES_PER_TURN
  }

  /**
   * To be called where a piece of work ends. Who has used no half of anything keeps its count, and the loop
   * need not be watched.
   */
  settle(): void {
    const isLow =
      this.bytes * 2 < MAX_BYTES_PER_TURN && this.events * 2 < MAX_EVENTS_PER_TURN && this.requests * 2 < MAX_REQUESTS_PER_TURN
    if (!isLow) turns.watch()
  }
}
