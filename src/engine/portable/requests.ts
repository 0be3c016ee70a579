/**
 * HTTP requests on their way to Node's parser, which gets requests one by one, and a body in pieces that the
 * turn allows.
 */
import type { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import { PortableRequest } from './http-request.js'
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
  /**
   * Whether Node's parser keeps errors for itself: from a request for another protocol until the next head,
   * for what follows would be no HTTP.
   */
  #hidesErrors = false
  #begun = 0

  /**
   * Node's parser reads the stream. `mayBegin` says whether a further request may begin on the connection;
   * `refuse` ends the connection when a request is malformed, and Node's parser does not say so.
   */
  constructor(stream: NetSocket, input: PacedInput, mayBegin: () => boolean, refuse: () => void) {
    this.#stream = stream
    this.#input = input
    this.#mayBegin = mayBegin
    this.#refuse = refuse
  }

  /** A client that has ended its side has left: bytes behind a request without a response are thrown away. */
  get forgetsRest(): boolean {
    return !this.#mayBegin()
  }

  /** A request has begun; if it has a body, the body follows. Called from inside `read`. */
  began(request: IncomingMessage): void {
    const { headers } = request
    this.#last = request
    this.#hidesErrors = request instanceof PortableRequest && request.asksForAnotherProtocol
    this.#begun += 1
    this.#line.expect()
    if (headers['transfer-encoding'] !== undefined) this.#ends.expectChunks()
    else this.#ends.expectBody(Number(headers['content-length'] ?? 0))
  }

  read(bytes: Buffer, budget: TurnBudget): number {
    // Node stops the stream while the reader of a body is behind, and resumes the stream later.
    if (this.#stream.readableFlowing !== true || this.#stream.readableLength > 0) return 0
    // A paused request would keep each chunk as an object of its own until its reader goes on.
    if (this.#last?.complete === false && this.#last.isPaused()) return 0
    // Whether the body is complete is for Node's parser to say.
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
    if (this.#hidesErrors) this.#giveChecked(piece)
    else this.#input.give(piece)
    budget.events += events
    budget.requests += this.#begun
    return length
  }

  /** Gives a piece, and refuses what the parser does not take. Node offers no other way to learn of that. */
  #giveChecked(piece: Buffer): void {
    const { parser } = this.#stream as { parser?: Parser | null }
    if (!parser) {
      this.#input.give(piece)
      return
    }
    let isTaken = true
    const execute = parser.execute.bind(parser)
    parser.execute = (bytes) => {
      const result = execute(bytes)
      isTaken = typeof result !== 'number' || result === bytes.length
      return result
    }
    try {
      this.#input.give(piece)
    } finally {
      // Parsers are used again, for other connections.
      Reflect.deleteProperty(parser, 'execute')
    }
    if (!isTaken) this.#refuse()
  }
}

/** Node's parser: an error, or how many bytes it has taken. */
interface Parser {
  execute(bytes: Buffer): unknown
}
