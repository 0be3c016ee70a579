/**
 * How much a source of chunks gives in one turn of the event loop. A source whose chunks are always ready
 * would otherwise go from promise to promise while its client takes them, and no other client would be
 * served.
 */
import { setImmediate } from 'node:timers/promises'

/** Bytes in one turn: to write them takes less than a millisecond. */
const MAX_BYTES = 1024 * 1024
/**
 * What a chunk counts for at least, the empty one too: 256 of them in one turn, as of the events of a client
 * (src/engine/portable/turn-budget.ts). Each costs 1 to 4 µs, whatever its length.
 */
const MIN_CHUNK_COST = 4096

export class SourceBudget {
  #spent = 0

  /**
   * Takes note of a chunk; true when the source has had its share of this turn, and `nextTurn` is to be
   * awaited.
   */
  spend(bytes: number): boolean {
    this.#spent += Math.max(bytes, MIN_CHUNK_COST)
    return this.#spent >= MAX_BYTES
  }

  /** Resolves in the next turn of the event loop, when other clients have been served. */
  async nextTurn(): Promise<void> {
    await setImmediate()
    this.renew()
  }

  /**
   * Called when the caller has awaited something that another turn has brought: the turn counted so far has
   * ended.
   */
  renew(): void {
    this.#spent = 0
  }
}
