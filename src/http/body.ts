/** The body of a request, from the engine's pieces to a web stream. */
import type { EngineServer, ExchangeId } from '../engine/contract.js'
import { WebSocketServerError } from '../errors.js'

/** Bytes that may wait for the handler before the connection is not read any more. */
const HIGH_WATER_MARK = 64 * 1024

/** What a body asks of its engine. */
export type BodyEngine = Pick<EngineServer, 'pauseBody' | 'resumeBody' | 'abort'>

/** One request's body. At most HIGH_WATER_MARK bytes, and what the engine had read already, wait in it for their reader. */
export class IncomingBody {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly #engine: BodyEngine
  readonly #exchange: ExchangeId
  readonly #limit: number
  // Given by the stream's start, which its constructor calls.
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>
  #received = 0
  #isPaused: boolean
  #isDiscarded = false
  #isAnswered = false
  #isComplete = false
  /** Whether the client waits for "100 Continue", which the first read brings it. */
  #awaitsContinue: boolean
  /** Whether more came than the limit. */
  isTooLarge = false

  constructor(engine: BodyEngine, exchange: ExchangeId, limit: number, expectsContinue: boolean) {
    this.#engine = engine
    this.#exchange = exchange
    this.#limit = limit
    this.#awaitsContinue = expectsContinue
    this.#isPaused = expectsContinue
    // Without a high water mark of its own the stream pulls only for somebody who reads.
    this.stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#resume(),
        cancel: () => this.#discard(),
      },
      { highWaterMark: 0, size: (chunk) => chunk?.byteLength ?? 0 },
    )
  }

  /** Whether the answer must end the connection: the client may send any amount, or nothing at all, of what nobody waits for. */
  get mustClose(): boolean {
    return this.isTooLarge || this.#awaitsContinue
  }

  push(chunk: Uint8Array<ArrayBuffer>, isLast: boolean): void {
    this.#awaitsContinue = false
    this.#isComplete = isLast
    this.#received += chunk.byteLength
    if (this.#received > this.#limit && !this.isTooLarge) this.#refuse()
    if (this.#isDiscarded) return
    if (chunk.byteLength > 0) this.#controller.enqueue(chunk)
    if (isLast) this.#controller.close()
    else if ((this.#controller.desiredSize ?? 0) > -HIGH_WATER_MARK) return
    else if (this.#isAnswered && !this.stream.locked) this.#giveUp()
    else this.#pause()
  }

  /** The client has gone. */
  fail(reason: unknown): void {
    if (this.#isComplete) return
    this.#isComplete = true
    this.#fail(reason)
  }

  /** The request is answered. Up to HIGH_WATER_MARK bytes, and what somebody is reading, can still be read. */
  answered(): void {
    this.#isAnswered = true
    if ((this.#isPaused || this.isTooLarge) && !this.#isComplete && !this.stream.locked) this.#giveUp()
  }

  #giveUp(): void {
    this.#fail(new TypeError('the request was answered before its body was read'))
    this.#discard()
  }

  #refuse(): void {
    this.isTooLarge = true
    this.#fail(
      new WebSocketServerError('ERR_BODY_TOO_LARGE', `the request body is larger than ${this.#limit} bytes (maxRequestBodySize)`),
    )
    if (this.#isAnswered) this.#engine.abort(this.#exchange)
    else this.#pause()
  }

  #fail(reason: unknown): void {
    if (this.#isDiscarded) return
    this.#isDiscarded = true
    this.#controller.error(reason)
  }

  #discard(): void {
    this.#isDiscarded = true
    // Without a reader, "100 Continue" would ask for what nobody wants.
    if (!this.#awaitsContinue && !this.isTooLarge) this.#resume()
  }

  #pause(): void {
    if (this.#isPaused || this.#isComplete) return
    this.#isPaused = true
    this.#engine.pauseBody(this.#exchange)
  }

  #resume(): void {
    if (!this.#isPaused || this.#isComplete) return
    this.#isPaused = false
    this.#awaitsContinue = false
    this.#engine.resumeBody(this.#exchange)
  }
}
