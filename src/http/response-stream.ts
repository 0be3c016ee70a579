/** An answer of unknown length under way: from its source to the engine, no faster than the client reads. */
import type { EngineServer, ExchangeId } from '../engine/contract.js'
import type { StreamingResponse } from './response.js'

/** Bytes handed to the engine at once: what the client does not take of them waits in memory. */
const PIECE = 64 * 1024

export type StreamEngine = Pick<EngineServer, 'beginResponse' | 'write' | 'endResponse' | 'abort'>

export class ResponseStream {
  readonly #engine: StreamEngine
  readonly #exchange: ExchangeId
  readonly #response: StreamingResponse
  readonly #mustClose: () => boolean
  #isAborted = false
  #goOn: (() => void) | undefined

  /** `mustClose` is asked at the end of the answer: what has come of the request meanwhile may say so. */
  constructor(engine: StreamEngine, exchange: ExchangeId, response: StreamingResponse, mustClose: () => boolean) {
    this.#engine = engine
    this.#exchange = exchange
    this.#response = response
    this.#mustClose = mustClose
  }

  /**
   * Resolves when everything was given to the engine, or when the client has gone, after which `aborted` was called. Rejects with the
   * source's error; the connection has then been cut, for the client must not take what it got for the whole.
   */
  async send(): Promise<void> {
    const { chunks, rest, ...head } = this.#response
    if (!this.#engine.beginResponse(this.#exchange, head)) {
      rest.cancel()
      return
    }
    try {
      for (const chunk of chunks) await this.#write(chunk)
      while (!this.#isAborted) {
        const chunk = await rest.next()
        if (chunk === undefined) break
        await this.#write(chunk)
      }
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

  async #write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.byteLength && !this.#isAborted; at += PIECE) {
      if (this.#engine.write(this.#exchange, chunk.subarray(at, at + PIECE))) continue
      await new Promise<void>((resolve) => {
        this.#goOn = resolve
      })
    }
  }
}
