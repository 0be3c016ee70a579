/** The promises of `Socket.sendAndFlush`, in the order of the messages, which is that in which they leave. */
import { TurnShare } from '../core/turn-share.js'
import { ClosedError } from '../errors.js'
import { Fifo } from '../util/fifo.js'

interface Completion {
  resolve(): void
  reject(error: unknown): void
}

export class SendCompletions {
  readonly #waiting = new Fifo<Completion>()
  /**
   * A program that sends again whenever a message has left, to a client that always reads, must not keep the
   * event loop from everything else.
   */
  readonly #share = new TurnShare()
  /** Messages that have left while the turn's share was used up. */
  readonly #late = new Fifo<Completion>()

  /**
   * For a message that was taken; the messages before it have their promises already. A rejection that the
   * caller ignores is no unhandled one.
   */
  add(): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    promise.catch(() => {})
    return promise
  }

  /** The first of the messages has left. */
  sent(): void {
    const completion = this.#waiting.shift()
    if (completion === undefined) return
    if (this.#late.length > 0) {
      this.#late.push(completion)
    } else if (this.#share.mustWait) {
      this.#late.push(completion)
      void this.#settleLater()
    } else {
      this.#share.spendChunk(0)
      completion.resolve()
    }
  }

  /** The connection has ended: what has not left never will. */
  end(): void {
    for (;;) {
      const completion = this.#waiting.shift()
      if (completion === undefined) return
      completion.reject(new ClosedError('the socket has closed before the message had left'))
    }
  }

  async #settleLater(): Promise<void> {
    for (let next = this.#late.first; next !== undefined; next = this.#late.first) {
      if (this.#share.mustWait) await this.#share.wait()
      this.#share.spendChunk(0)
      this.#late.shift()
      next.resolve()
    }
  }
}
