/**
 * HTTP requests on their way to Node's parser: it gets them one by one, and a body in pieces that the turn
 * allows.
 */
import type { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import type { InputReader, PacedInput } from './portable-input.js'
import { RequestEnds } from './portable-request-ends.js'
import type { TurnBudget } from './portable-turns.js'

export class RequestReader implements InputReader {
  readonly isBusy = false
  readonly #stream: NetSocket
  readonly #input: PacedInput
  readonly #mayBegin: () => boolean
  readonly #ends = new RequestEnds()
  #last: IncomingMessage | undefined
  #begun = 0

  /** Node's parser reads the stream. `mayBegin` says whether a further request may begin on it. */
  constructor(stream: NetSocket, input: PacedInput, mayBegin: () => boolean) {
    this.#stream = stream
    this.#input = input
    this.#mayBegin = mayBegin
  }

  /**
   * A client that has ended its side has left: behind a request that is not answered, nobody waits for more.
   */
  get forgetsRest(): boolean {
    return !this.#mayBegin()
  }

  /** A request has begun, and its body follows, if it has one. Called from inside `read`. */
  began(request: IncomingMessage): void {
    const { headers } = request
    this.#last = request
    this.#begun += 1
    if (headers['transfer-encoding'] !== undefined) this.#ends.expectChunks()
    else this.#ends.expectBody(Number(headers['content-length'] ?? 0))
  }

  read(bytes: Buffer, budget: TurnBudget): number {
    // Node stops the stream while the reader of a body is behind, and asks for more when it is not.
    if (this.#stream.readableFlowing !== true || this.#stream.readableLength > 0) return 0
    // It would keep each chunk for itself until its reader goes on, as an object of its own.
    if (this.#last?.complete === false && this.#last.isPaused()) return 0
    // What Node's parser says of it counts.
    if (this.#last?.complete ?? true) {
      this.#ends.expectHead()
      if (!this.#mayBegin()) return 0
    }
    const { length, events } = this.#ends.next(bytes)
    this.#begun = 0
    this.#input.give(length === bytes.length ? bytes : bytes.subarray(0, length))
    budget.events += events
    budget.requests += this.#begun
    return length
  }
}
