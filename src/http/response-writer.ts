/** A response whose body a function writes, or is there whole: `writeResponse`. */
import { Buffer } from 'node:buffer'
import { TurnShare } from '../core/turn-share.js'
import type { ExchangeId } from '../engine/contract.js'
import { ClosedError, NotSupportedError, WebSocketServerError } from '../errors.js'
import { toPayload } from '../options/arguments.js'
import type { Awaitable, BodyWriter, Data } from '../types/index.js'
import { bufferOver } from '../util/bytes.js'
import { type WrittenResponse, wrongLength } from './response.js'
import { PIECE, type StreamEngine } from './response-stream.js'
import { type WriteBody, type WrittenBody, writers } from './written-bodies.js'

const NOTHING = new Uint8Array()

/**
 * A Response with that body, text or bytes: what `new Response(body)` does, at less cost, since no stream is
 * made of the body. Text without a `content-type` is `text/plain;charset=UTF-8`. The bytes are copied.
 *
 * With a function, a Response whose body the function writes, piece by piece and as fast as the client reads:
 * what `new Response(stream)` does, at less cost. The function is called when the head may be sent, and not
 * at all for HEAD and for a status without content; its first `write` sends the head. The response ends when
 * the function has returned, or its promise has resolved. When it throws or rejects, `onError` gets the
 * error, and the client gets 500 if nothing was written; else the connection is cut.
 *
 * A `content-length` in `init` is sent, and checked as that of a stream: ERR_CONTENT_LENGTH. Return the
 * Response as it is: its `body` cannot be read, and so not be handed to another Response. Throws OptionError
 * where the body is neither, and what the constructor of Response throws.
 */
export function writeResponse(body: Data | ((body: BodyWriter) => Awaitable<unknown>), init?: ResponseInit): Response {
  const written: WrittenBody = typeof body === 'function' ? body : copyOf(body)
  UnreadableResponse ??= makeUnreadable()
  const response = new UnreadableResponse(null, init)
  if (typeof body === 'string' && !response.headers.has('content-type')) response.headers.set('content-type', TEXT)
  writers.set(response, written)
  return response
}

/** What the constructor of Response says of text. */
const TEXT = 'text/plain;charset=UTF-8'

function copyOf(data: Data): Buffer<ArrayBuffer> {
  const payload = toPayload(data)
  // The same, but for the types: Buffer.from has no form for both.
  return typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload)
}

/** What reads a Response's body: of this one it would be empty, and be sent in place of the real one. */
const READERS = ['body', 'clone', 'text', 'json', 'arrayBuffer', 'blob', 'bytes', 'formData'] as const

/** Made with the first Response of `writeResponse`: the global Response has Node load its fetch. */
let UnreadableResponse: (new (body: null, init?: ResponseInit) => Response) | undefined

function makeUnreadable(): typeof Response {
  class Unreadable extends Response {}
  Object.defineProperties(Unreadable.prototype, unreadable)
  return Unreadable
}

const unreadable: PropertyDescriptorMap = Object.fromEntries(
  READERS.map((member) => [
    member,
    {
      get() {
        throw new NotSupportedError(`${member} of a Response of writeResponse`, 'return the Response as it is')
      },
    },
  ]),
)

/** Brings what the function writes to the engine. Has the members of ResponseStream. */
export class ResponseWriter implements BodyWriter {
  readonly #engine: StreamEngine
  readonly #exchange: ExchangeId
  readonly #response: WrittenResponse
  readonly #mustClose: () => boolean
  readonly #share = new TurnShare()
  /** Bytes that were written. */
  #size = 0
  /** The last byte of a body with an announced length, until the function has returned. */
  #last: Uint8Array | undefined
  /** What the engine has not been given of the last `write`. */
  #rest: Uint8Array = NOTHING
  #hasBegun = false
  #hasEnded = false
  /** Whether the engine has to wait for the client. */
  #isBlocked = false
  #failure: Error | undefined
  #abortion: { readonly reason: unknown } | undefined
  #goOn: (() => void) | undefined
  /** While `ready` has not settled. */
  #ready: Promise<void> | undefined

  constructor(engine: StreamEngine, exchange: ExchangeId, response: WrittenResponse, mustClose: () => boolean) {
    this.#engine = engine
    this.#exchange = exchange
    this.#response = response
    this.#mustClose = mustClose
  }

  /** As `ResponseStream.send`; nothing was sent when it rejects before the function has written. */
  async send(): Promise<void> {
    const write: WriteBody = this.#response.write
    try {
      await write(this)
      this.#hasEnded = true
      if (this.#failure !== undefined) throw this.#failure
      if (this.#abortion !== undefined) return
      const { contentLength } = this.#response
      if (contentLength !== undefined && this.#size !== contentLength) throw wrongLength(contentLength, this.#size, true)
      // Nothing was written: so much can be said in the head.
      if (!this.#begin(0)) return
      await this.#settle()
      if (this.#last !== undefined) this.#engine.write(this.#exchange, this.#last)
    } catch (error) {
      this.#hasEnded = true
      if (this.#abortion !== undefined) return
      if (this.#hasBegun) this.#engine.abort(this.#exchange)
      throw this.#failure ?? error
    }
    if (this.#abortion === undefined) this.#engine.endResponse(this.#exchange, this.#response.closes || this.#mustClose())
  }

  write(data: Data): boolean {
    const payload = toPayload(data)
    if (this.#hasEnded) throw new ClosedError('the response has ended')
    if (this.#failure !== undefined) throw this.#failure
    if (this.#abortion !== undefined) return false
    if (this.#isWaiting) {
      throw new WebSocketServerError('ERR_NOT_READY', 'the client has not read what was written before: wait for `ready`')
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : bufferOver(payload)
    const { contentLength } = this.#response
    this.#size += bytes.length
    if (contentLength !== undefined && this.#size > contentLength) {
      this.#failure = wrongLength(contentLength, this.#size, false)
      throw this.#failure
    }
    if (!this.#begin(contentLength)) return false
    // A function may write empty pieces for ever: they take their share, too.
    if (bytes.length === 0) this.#share.spendChunk(0)
    if (this.#size === contentLength && bytes.length > 0) {
      // With it the client would take the response for whole, although more may be written.
      this.#last = Buffer.from(bytes.subarray(-1))
      this.#give(bytes.subarray(0, -1))
    } else {
      this.#give(bytes)
    }
    return !this.#isWaiting && !this.#share.mustWait
  }

  ready(): Promise<void> {
    if (this.#ready === undefined) {
      this.#ready = this.#settle().finally(() => {
        this.#ready = undefined
      })
      // One who does not wait any more need not catch anything.
      this.#ready.catch(() => {})
    }
    return this.#ready
  }

  /** The engine can take more. */
  writable(): void {
    this.#isBlocked = false
    this.#goOn?.()
    this.#goOn = undefined
  }

  /** The client has gone. */
  aborted(reason: unknown): void {
    this.#abortion = { reason }
    this.#rest = NOTHING
    this.writable()
  }

  get #isWaiting(): boolean {
    return this.#isBlocked || this.#rest.length > 0
  }

  /** Sends the head, unless that was done. False when the client has gone. */
  #begin(contentLength: number | undefined): boolean {
    if (this.#hasBegun) return true
    const { write: _, ...head } = this.#response
    this.#hasBegun = this.#engine.beginResponse(this.#exchange, { ...head, contentLength })
    return this.#hasBegun
  }

  /** As much as the engine takes, and a turn has room for. The rest is for `#settle`. */
  #give(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length && !this.#isBlocked && (at === 0 || !this.#share.mustWait)) {
      const piece = bytes.subarray(at, at + PIECE)
      at += PIECE
      this.#share.spendChunk(piece.length)
      this.#isBlocked = !this.#engine.write(this.#exchange, piece)
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : NOTHING
  }

  /** Rejects with the reason when the client has gone. */
  async #settle(): Promise<void> {
    for (;;) {
      if (this.#abortion !== undefined) throw this.#abortion.reason
      if (this.#isBlocked) {
        await new Promise<void>((resolve) => {
          const others = this.#goOn
          this.#goOn = () => {
            others?.()
            resolve()
          }
        })
      } else if (this.#share.mustWait) {
        await this.#share.wait()
      } else if (this.#rest.length > 0) {
        this.#give(this.#rest)
      } else {
        return
      }
    }
  }
}
