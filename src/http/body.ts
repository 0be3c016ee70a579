/** The body of a request, from the engine's pieces to a web stream. */
import type { Buffer } from 'node:buffer'
import { TurnShare } from '../core/turn-share.js'
import type { EngineHttp, ExchangeId } from '../engine/contract.js'
import { WebSocketServerError } from '../errors.js'
import { GrowingBuffer } from '../util/growing-buffer.js'

/** Bytes that may wait for the handler before the connection is not read any more. */
const HIGH_WATER_MARK = 64 * 1024

/**
 * A chunk of this many bytes or more goes into the stream as it is. A client may send chunks of one byte
 * each, and an object for each of them would cost 100 to 300 bytes, in the stream and for a reader that
 * collects them: a shorter chunk is copied behind the bytes that wait for the handler.
 */
const LEAST_ALONE = 4 * 1024
/** Bytes of short chunks that the stream gets as one. */
const MAX_GATHERED = 16 * 1024

/** What a body asks of its engine. */
export type BodyEngine = Pick<EngineHttp, 'pauseBody' | 'resumeBody' | 'abort'>

/**
 * One request's body. At most HIGH_WATER_MARK bytes, and the bytes that the engine had read already, wait
 * here for the handler.
 */
export class IncomingBody {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>
  readonly #engine: BodyEngine
  readonly #exchange: ExchangeId
  readonly #limit: number
  // The stream's constructor calls `start`, which sets this.
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>
  /** Short chunks, behind those in the stream. */
  readonly #gathered = new GrowingBuffer()
  /** Whether the handler waits for a chunk. */
  #isAwaited = false
  #isCollected = false
  #received = 0
  #isPaused: boolean
  #isDiscarded = false
  #hasResponse = false
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
    // With a high water mark of 0 the stream pulls only while a read waits for a chunk.
    this.stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#pull(),
        cancel: () => this.#discard(),
      },
      { highWaterMark: 0, size: (chunk) => chunk?.byteLength ?? 0 },
    )
  }

  /**
   * Close the connection after the response: the rest of the body cannot be drained, since it has no known
   * limit, or may never come.
   */
  get mustClose(): boolean {
    return this.isTooLarge || this.#awaitsContinue
  }

  /**
   * Called when the handler reads the whole body: short chunks are then gathered until they are many, or the
   * body ends.
   */
  collect(): void {
    this.#isCollected = true
  }

  push(chunk: Buffer, isLast: boolean): void {
    this.#awaitsContinue = false
    this.#isComplete = isLast
    this.#received += chunk.byteLength
    if (this.#received > this.#limit && !this.isTooLarge) this.#refuse()
    if (this.#isDiscarded) return
    this.#add(chunk)
    if (isLast) this.#end()
    else if (this.#gathered.length - (this.#controller.desiredSize ?? 0) < HIGH_WATER_MARK) return
    else if (this.#hasResponse && !this.stream.locked) this.#giveUp()
    else this.#pause()
  }

  /** The client has gone. */
  fail(reason: unknown): void {
    if (this.#isComplete) return
    this.#isComplete = true
    this.#fail(reason)
  }

  /**
   * The request has its response. Up to HIGH_WATER_MARK bytes can still be read, and all of a body that the
   * handler is reading already.
   */
  responded(): void {
    this.#hasResponse = true
    if ((this.#isPaused || this.isTooLarge) && !this.#isComplete && !this.stream.locked) this.#giveUp()
  }

  #add(chunk: Buffer): void {
    if (chunk.length >= LEAST_ALONE) {
      this.#giveGathered()
      this.#give(chunk)
    } else if (chunk.length > 0) {
      if (this.#gathered.length === 0) this.#gathered.append(chunk)
      else this.#gathered.copy(chunk, MAX_GATHERED + LEAST_ALONE)
      if (this.#gathered.length >= MAX_GATHERED || (this.#isAwaited && !this.#isCollected)) this.#giveGathered()
    }
  }

  #giveGathered(): void {
    if (this.#gathered.length > 0) this.#give(this.#gathered.take())
  }

  /** The bytes belong to the reader from here on. */
  #give(chunk: Buffer): void {
    this.#isAwaited = false
    // The cast is safe: an engine gives each chunk memory of its own, never a SharedArrayBuffer.
    this.#controller.enqueue(chunk as Uint8Array<ArrayBuffer>)
  }

  #end(): void {
    this.#giveGathered()
    // With the end, a handler that has waited for the whole body has it joined and decoded.
    const share = new TurnShare()
    const close = () => {
      share.spendBody(this.#received)
      if (!this.#isDiscarded) this.#controller.close()
    }
    if (share.mustWait) void share.wait().then(close)
    else close()
  }

  /** Called by the stream when a read finds no chunk. */
  #pull(): void {
    this.#isAwaited = true
    if (!this.#isCollected) this.#giveGathered()
    this.#resume()
  }

  #giveUp(): void {
    this.#fail(new TypeError('the response was sent before the body of the request was read'))
    this.#discard()
  }

  #refuse(): void {
    this.isTooLarge = true
    this.#fail(
      new WebSocketServerError('ERR_BODY_TOO_LARGE', `the request body is larger than ${this.#limit} bytes (maxRequestBodySize)`),
    )
    if (this.#hasResponse) this.#engine.abort(this.#exchange)
    else this.#pause()
  }

  #fail(reason: unknown): void {
    if (this.#isDiscarded) return
    this.#isDiscarded = true
    this.#gathered.clear()
    this.#controller.error(reason)
  }

  #discard(): void {
    this.#isDiscarded = true
    this.#gathered.clear()
    // "100 Continue" waits for the first read: without a reader, the server would ask the client for a body
    // that no handler reads.
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
