/**
 * Work above the engines that clients cause and no engine counts: the chunks of handlers' sources, which may
 * always be ready, and bodies that handlers collect, which many clients may end at once. All of it together,
 * of all servers of a thread, has one budget in each turn of the event loop. What is over waits in a queue:
 * one share for the first of it, then one for the next, so that nothing waits for all that another brings.
 * Bodies, and sources that have given nothing yet, do not wait for all sources that never end.
 */
import process from 'node:process'
import { Fifo } from '../util/fifo.js'

/** Bytes in one turn: to write or to decode them takes one to three milliseconds. */
const MAX_BYTES = 4 * 1024 * 1024

/**
 * What a chunk counts for at least, the empty one too: 256 of them in one turn, as of the events of a client
 * (src/engine/portable/turn-budget.ts). Each costs 1 to 30 µs, whatever its length.
 */
const MIN_CHUNK_COST = 16 * 1024

/**
 * What one source gets before the next one that waits: 16 chunks, which leave in one system call where fewer
 * would cost as many.
 */
const SHARE = 256 * 1024

/**
 * Milliseconds of one turn for work that has waited: no share begins later, but for the first one. As many as
 * engines give to connections that wait.
 */
const MAX_TIME = 10

/** The turns of this thread's event loop. */
class Turns {
  /** Each takes a share in turn with the other, where something waits in both. */
  readonly #fresh = new Fifo<() => void>()
  readonly #others = new Fifo<() => void>()
  #lastWasFresh = false
  #spent = 0
  #isWatched = false
  /** When the turn's time for work that has waited is over. */
  #end = 0

  /** Whether this turn has had all its work. Whenever something waits for a turn, it has. */
  get isSpent(): boolean {
    return this.#spent >= MAX_BYTES
  }

  /** Whether something waits. */
  get areWanted(): boolean {
    return this.#fresh.length > 0 || this.#others.length > 0
  }

  spend(cost: number): void {
    this.#spent += cost
    // As long as little is spent the count may go on from turn to turn, and the loop need not be watched.
    if (this.#spent * 2 >= MAX_BYTES) this.#watch()
  }

  /** Resolves when the caller's share begins: in this turn, when it still gives some. */
  wait(isFresh: boolean): Promise<void> {
    this.#watch()
    return new Promise((resolve) => (isFresh ? this.#fresh : this.#others).push(resolve))
  }

  #watch(): void {
    if (this.#isWatched) return
    this.#isWatched = true
    // Immediates run when everything that the system has reported was handled, so that others come first.
    setImmediate(() => this.#begin())
  }

  #begin(): void {
    this.#isWatched = false
    this.#spent = 0
    this.#end = performance.now() + MAX_TIME
    this.#next()
  }

  #next(): void {
    const isFresh = this.#fresh.length > 0 && !(this.#lastWasFresh && this.#others.length > 0)
    const begin = (isFresh ? this.#fresh : this.#others).shift()
    if (begin === undefined) return
    this.#lastWasFresh = isFresh
    begin()
    // A tick that is asked for by a microtask comes when no microtask is left: the share has been used up, or
    // waits for something else.
    queueMicrotask(() => process.nextTick(() => this.#goOn()))
  }

  #goOn(): void {
    if (!this.areWanted) return
    if (performance.now() >= this.#end) this.#spent = MAX_BYTES
    if (this.isSpent) this.#watch()
    else this.#next()
  }
}

const turns = new Turns()

/** How much of a turn one source of chunks, or one body, has had. */
export class TurnShare {
  #spent = 0
  /** Whether nothing was spent yet. */
  #isFresh = true

  /** To be asked before each chunk: whether `wait` comes before the chunk. */
  get mustWait(): boolean {
    return turns.isSpent || (turns.areWanted && this.#spent >= SHARE)
  }

  /** Takes note of a chunk. */
  spendChunk(bytes: number): void {
    this.#spend(Math.max(bytes, MIN_CHUNK_COST))
  }

  /** Takes note of bytes that are collected and decoded. */
  spendBody(bytes: number): void {
    this.#spend(bytes)
  }

  /** Resolves when the source has another share, behind all of its kind that have waited before. */
  async wait(): Promise<void> {
    await turns.wait(this.#isFresh)
    this.#spent = 0
  }

  #spend(cost: number): void {
    this.#isFresh = false
    this.#spent += cost
    turns.spend(cost)
  }
}
