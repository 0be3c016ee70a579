/** How many bytes wait for all clients together. */
import type { Socket } from '../types/index.js'

/** Sockets that are asked in one turn of the event loop, which takes less than a millisecond. */
const SLICE = 1000

/** Milliseconds for which a sum is good: a client that asks for the page more often must not cost more. */
const GOOD_FOR = 1000

/** Sums up over several turns of the event loop, once for all who ask at about the same time. */
export class WaitingBytes {
  readonly #sockets: () => Iterable<Socket<unknown>>
  #sum: Promise<number> | undefined
  #since = 0

  constructor(sockets: () => Iterable<Socket<unknown>>) {
    this.#sockets = sockets
  }

  now(): Promise<number> {
    const now = performance.now()
    if (this.#sum === undefined || now - this.#since > GOOD_FOR) {
      this.#sum = this.#add()
      this.#since = now
    }
    return this.#sum
  }

  async #add(): Promise<number> {
    let sum = 0
    let count = 0
    for (const socket of this.#sockets()) {
      sum += socket.bufferedAmount
      count += 1
      if (count % SLICE === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    return sum
  }
}
