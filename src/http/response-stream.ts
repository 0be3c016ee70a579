/**
 * A response whose body was not there at once: from the body's source to the engine, no faster than the
 * client reads.
 */

import { TurnShare } from '../core/turn-share.js'
import type { EngineHttp, ExchangeId } from '../engine/contract.js'
import { type StreamingResponse, wrongLength } from './response.js'

/** Bytes handed to the engine at once: bytes that the client does not take wait in memory. */
export const PIECE = 64 * 1024
const NOTHING = new Uint8Array()

export type StreamEngine = Pick<EngineHttp, 'beginResponse' | 'write' | 'endResponse' | 'abort'>

export class ResponseStream {
  readonly #engine: StreamEngine
  readonly #exchange: ExchangeId
  readonly #response: StreamingResponse
  readonly #mustClose: () => boolean
  readonly #share = new TurnShare()
  /** Bytes that the source has given. */
  #size = 0
  /** The last byte of a body with an announced length, until the source has ended. */
  #last: Uint8Array | undefined
  #isAborted = false
  #goOn: (() => void) | undefined

  /**
   * `mustClose` is asked at the end of the response: the result may depend on how much of the request has
   * come meanwhile.
   */
  constructor(engine: StreamEngine, exchange: ExchangeId, response: StreamingResponse, mustClose: () => boolean) {
    this.#engine = engine
    this.#exchange = exchange
    this.#response = response
    this.#mustClose = mustClose
  }

  /**
   * Resolves when everything was given to the engine, or when the client has gone, after which `aborted` was
   * called. Rejects with the source's error, or with a ContentLengthError; the connection has then been cut,
   * for the client must not take what it got for the whole response.
   */
  async send(): Promise<void> {
    const { chunks, rest, ...head } = this.#response
    try {
      // An empty response is whole with its head: so the head waits until the source has turned out to be
      // empty.
      if (head.contentLength === 0) await this.#readToEnd()
      if (this.#isAborted) return
      if (!this.#engine.beginResponse(this.#exchange, head)) {
        rest.cancel()
        return
      }
      await this.#takeAll(chunks)
      await this.#readToEnd()
      if (this.#last !== undefined) await this.#write(this.#last)
    } catch (error) {
      if (this.#isAborted) return
      this.#engine.abort(this.#exchange)
      rest.cancel(error)
      throw error
    }
    if (!this.#isAborted) this.#engine.endResponse(this.#exchange, this.#response.closes || this.#mustClose())
  }

  /** The engine can take more. */
  writable(): void {
    this.#goOn?.()
    this.#goOn = undefined
  }

  /** The client has gone. */
  aborted(reason: unknown): void {
    this.#isAborted = true
    this.#response.rest.cancel(reason)
    this.writable()
  }

  /** Empties the list: it exists for as long as the response lasts, and so do the variables of `send`. */
  async #takeAll(chunks: Uint8Array[]): Promise<void> {
    for (const [index, chunk] of chunks.entries()) {
      chunks[index] = NOTHING
      await this.#take(chunk)
    }
  }

  async #readToEnd(): Promise<void> {
    const { rest, contentLength } = this.#response
    while (!this.#isAborted) {
      const chunk = await rest.next()
      if (chunk === undefined) break
      await this.#take(chunk)
    }
    if (this.#isAborted || contentLength === undefined || this.#size === contentLength) return
    throw wrongLength(contentLength, this.#size, true)
  }

  /**
   * Sends the source's chunk, but for the last byte of an announced length: with that byte the client would
   * take the response for whole, although the source may have more.
   */
  async #take(chunk: Uint8Array): Promise<void> {
    const { rest, contentLength } = this.#response
    this.#size += chunk.byteLength
    if (contentLength !== undefined && this.#size > contentLength) throw wrongLength(contentLength, this.#size, false)
    const isLast = this.#size === contentLength && chunk.byteLength > 0
    if (!isLast || (await rest.endsNow())) {
      await this.#write(chunk)
    } else {
      this.#last = chunk.subarray(-1)
      await this.#write(chunk.subarray(0, -1))
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    // A source may give empty chunks for ever: they take their share, too.
    let at = 0
    do {
      const piece = chunk.subarray(at, at + PIECE)
      at += PIECE
      if (this.#share.mustWait) await this.#share.wait()
      if (this.#isAborted) return
      this.#share.spendChunk(piece.byteLength)
      if (piece.byteLength > 0 && !this.#engine.write(this.#exchange, piece)) {
        await new Promise<void>((resolve) => {
          this.#goOn = resolve
        })
      }
    } while (at < chunk.byteLength)
  }
}
