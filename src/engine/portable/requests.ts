/**
 * HTTP requests on their way to Node's parser: it gets them one by one, and a body in pieces that the turn
 * allows.
 */
import type { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import type { InputReader, PacedInput } from './input.js'
import { RequestEnds } from './request-ends.js'
import { RequestLine } from './request-line.js'
import type { TurnBudget } from './turns.js'

export class RequestReader implements InputReader {
  readonly isBusy = false
  readonly isDue = false
  readonly #stream: NetSocket
  readonly #input: PacedInput
  readonly #mayBegin: () => boolean
  readonly #refuse: () => void
  readonly #line = new RequestLine()
  readonly #ends = new RequestEnds()
  #last: IncomingMessage | undefined
  #begun = 0

  /**
   * Node's parser reads the stream. `mayBegin` says whether a further request may begin on it; `refuse` ends
   * the connection of one whose first line is wrong.
   */
  constructor(stream: NetSocket, input: PacedInput, mayBegin: () => boolean, refuse: () => void) {
    this.#stream = stream
    this.#input = input
    this.#mayBegin = mayBegin
    this.#refuse = refuse
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
    this.#line.expect()
    if (headers['transfer-encoding'] !== undefined) this.#ends.expectChunks()
    else this.#ends.expectBody(Number(headers['content-length'] ?? 0))
  }

  read(bytes: Buffer, budget: TurnBudget): number {
    // Node stops the stream while the reader of a body is behind, and asks for more when it is not.
    if (this.#stream.readableFlowing !== true || this.#stream.readableLength > 0) return 0
    // It would keep each chunk for itself until its reader goes on, as an object of its own.
    if (this.#last?.complete === false && this.#last.isPaused()) return 0
    // What Node's parser says of it counts.
    const isHead = this.#last?.complete ?? true
    if (isHead) {
      this.#ends.expectHead()
      if (!this.#mayBegin()) return 0
    }
    const { length, events } = this.#ends.next(bytes)
    const piece = length === bytes.length ? bytes : bytes.subarray(0, length)
    this.#begun = 0
    if (isHead && !this.#line.accepts(piece)) {
      this.#refuse()
      return length
    }
    this.#input.give(piece)
    budget.events += events
    budget.requests += this.#begun
    return length
  }
}
