/**
 * Turns of the event loop on the portable engine: what a connection has had of the present turn, and which
 * connections wait for the next.
 */
import { MAX_BYTES_PER_TURN, MAX_EVENTS_PER_TURN, MAX_REQUESTS_PER_TURN } from './turn-budget.js'

/**
 * Milliseconds of one turn for all connections whose input has just come, and as many for all connections
 * that wait: when there are more, some get their share in a later turn, in their order. Ten times what one
 * connection can use up, and too little for the others to notice.
 */
const MAX_TIME = 10

/** A piece of work of this many milliseconds has its turn watched. */
const LONG_TIME = 1

/**
 * Pieces of work that begin before the loop is watched. Together they take a few milliseconds, since a longer
 * piece has the loop watched at once; and a loop with little to do need not be watched in each turn.
 */
const MAX_UNWATCHED = 16

/**
 * When this many connections wait for their first share, they are a crowd: about as many as can have a whole
 * share in MAX_TIME. In a crowd, shares are smaller, so that no connection waits until all others have had
 * whole shares.
 */
const CROWD = 16
const SHARES_IN_A_CROWD = 16

/** Waits for a turn. */
export interface Waiting {
  /** Called when the connection's turn has come. */
  takeTurn(): void
}

/** The turns of this thread's event loop. One object for all servers, since they share the loop. */
class Turns {
  /** Changes between two turns, if `watch` was called in the first one. */
  number = 0
  #isWatched = false
  /**
   * When the first piece of work of this turn began; while the loop is not watched, when the latest piece of
   * work began. When that was long ago, a connection whose input has just come waits until the end of this
   * turn.
   */
  #start: number | undefined
  #unwatched = 0
  /**
   * Connections that have had no share (`#fresh`) come before those that have (`#spent`); each set in the
   * order in which they go on.
   */
  readonly #fresh = new Set<Waiting>()
  readonly #spent = new Set<Waiting>()

  /**
   * Makes `number` change with the next turn. A connection that uses little of its budget need not call
   * `watch`: its count goes on where it was.
   */
  watch(): void {
    if (this.#isWatched) return
    this.#isWatched = true
    // Immediates run when everything that the system has reported was handled, so that other connections come
    // first; an immediate that is set by an immediate runs in the next turn.
    setImmediate(() => this.#begin())
  }

  /** Into how many parts a budget is divided. */
  get divisor(): number {
    return this.#fresh.size > CROWD ? SHARES_IN_A_CROWD : 1
  }

  /**
   * To be called before work that has not waited for a turn. False when this turn has taken long: the work is
   * to wait as fresh.
   */
  mayBegin(): boolean {
    const now = performance.now()
    if (!this.#isWatched) {
      this.#start = now
      this.#unwatched += 1
      if (this.#unwatched >= MAX_UNWATCHED) this.watch()
    }
    this.#start ??= now
    return now - this.#start < MAX_TIME
  }

  /** To be called when work that `mayBegin` has allowed has ended. */
  noteEnd(): void {
    if (!this.#isWatched && this.#start !== undefined && performance.now() - this.#start >= LONG_TIME) this.watch()
  }

  /**
   * Calls `takeTurn` in the next turn, or in a later one when many wait: before all connections that wait for
   * another share.
   */
  waitAsFresh(waiting: Waiting): void {
    if (this.isAwaitedBy(waiting)) return
    this.#fresh.add(waiting)
    this.watch()
  }

  /** Likewise, behind all others, for a connection that has had a share. */
  wait(waiting: Waiting): void {
    if (this.isAwaitedBy(waiting)) return
    this.#spent.add(waiting)
    this.watch()
  }

  /** Whether the connection waits. */
  isAwaitedBy(waiting: Waiting): boolean {
    return this.#fresh.has(waiting) || this.#spent.has(waiting)
  }

  /** Takes the connection out of both queues. */
  forget(waiting: Waiting): void {
    this.#fresh.delete(waiting)
    this.#spent.delete(waiting)
  }

  #begin(): void {
    this.#isWatched = false
    this.number += 1
    this.#unwatched = 0
    const now = performance.now()
    try {
      // Half of the time is for connections in `#spent`, however many come as fresh again and again.
      this.#callBack(this.#fresh, now + MAX_TIME / 2)
      this.#callBack(this.#spent, now + MAX_TIME)
    } finally {
      // Input that comes from here on has a time of its own.
      this.#start = undefined
      if (this.#fresh.size + this.#spent.size > 0) this.watch()
    }
  }

  /** Gives at least one connection its turn, however late it is. */
  #callBack(queue: Set<Waiting>, end: number): void {
    let left = queue.size
    for (const waiting of queue) {
      queue.delete(waiting)
      waiting.takeTurn()
      left -= 1
      // Connections that wait again are at the end of the set.
      if (left <= 0 || performance.now() >= end) break
    }
  }
}

export const turns = new Turns()

/**
 * What one connection has used up of its turn. Inflated bytes are not counted here: zlib brings one piece of
 * 16 KiB in a turn (see Inflater).
 */
export class TurnBudget {
  bytes = 0
  requests = 0
  events = 0
  #turn = turns.number
  #divisor = 1

  /** To be called where a piece of work begins: a new turn may have begun. */
  renew(): void {
    if (this.#turn === turns.number) return
    this.#turn = turns.number
    this.#divisor = turns.divisor
    this.bytes = 0
    this.requests = 0
    this.events = 0
  }

  /** Leaves nothing of this turn. */
  spend(): void {
    this.events = MAX_EVENTS_PER_TURN
  }

  /** Whether nothing of what was read may be worked on before the next turn. */
  get isSpent(): boolean {
    return this.events * this.#divisor >= MAX_EVENTS_PER_TURN || this.requests * this.#divisor >= MAX_REQUESTS_PER_TURN
  }

  /** Whether nothing may be read before the next turn. */
  get hasReadAll(): boolean {
    return this.bytes >= MAX_BYTES_PER_TURN
  }

  /**
   * To be called where a piece of work ends. A connection that has used less than half of each budget keeps
   * its count, and the loop need not be watched.
   */
  settle(): void {
    const isLow =
      this.bytes * 2 < MAX_BYTES_PER_TURN && this.events * 2 < MAX_EVENTS_PER_TURN && this.requests * 2 < MAX_REQUESTS_PER_TURN
    if (!isLow) turns.watch()
  }
}
