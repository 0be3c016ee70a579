/** The promises of `Socket.drained`, which wait until a socket's queue is short enough. */
import type { ConnectionId, EngineConnections } from '../engine/contract.js'
import { ClosedError } from '../errors.js'

interface Waiter {
  readonly threshold: number
  /** Resolves the promise, or rejects it with the reason's error. */
  settle(reason?: { readonly error: unknown }): void
}

export class DrainWaiters {
  readonly #connections: EngineConnections
  readonly #connection: ConnectionId
  readonly #waiters = new Set<Waiter>()
  /** The threshold that the engine watches: no waiter's threshold is higher. */
  #watched = -1

  constructor(connections: EngineConnections, connection: ConnectionId) {
    this.#connections = connections
    this.#connection = connection
  }

  wait(threshold: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => waiter.settle({ error: signal?.reason })
      const waiter: Waiter = {
        threshold,
        settle: (failure) => {
          this.#waiters.delete(waiter)
          signal?.removeEventListener('abort', abort)
          if (failure === undefined) resolve()
          else reject(failure.error)
        },
      }
      this.#waiters.add(waiter)
      signal?.addEventListener('abort', abort)
      if (threshold <= this.#watched) return
      if (this.#connections.setBufferedAmountLowThreshold(this.#connection, threshold)) this.#watched = threshold
      // For a connection that has ended, nothing is settled here: `end` follows.
      else if (this.#connections.isOpen(this.#connection)) waiter.settle()
    })
  }

  /**
   * The engine reports that the queue is down to the watched threshold. Settles the waiters whose thresholds
   * are reached, and has the engine watch for the next threshold.
   */
  bufferIsLow(): void {
    this.#watched = -1
    while (this.#waiters.size > 0) {
      let highest = 0
      for (const { threshold } of this.#waiters) highest = Math.max(highest, threshold)
      if (this.#connections.setBufferedAmountLowThreshold(this.#connection, highest)) {
        this.#watched = highest
        return
      }
      if (!this.#connections.isOpen(this.#connection)) return
      // All waiters that are due are settled together: one by one, each would cost a look at all others.
      const amount = Math.min(highest, this.#connections.bufferedAmount(this.#connection))
      const due = [...this.#waiters].filter(({ threshold }) => threshold >= amount)
      for (const waiter of due.sort((a, b) => b.threshold - a.threshold)) waiter.settle()
    }
  }

  /** The socket is closing: rejects all waiters. */
  end(): void {
    for (const waiter of this.#waiters) waiter.settle({ error: new ClosedError('the socket has closed') })
  }
}
