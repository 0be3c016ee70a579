/** A socket as a stream of `node:stream`. */

import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { TurnShare } from '../core/turn-share.js'
import { ClosedError } from '../errors.js'
import { SendStatus, type Socket } from '../types/index.js'
import { CLOSE_CODE } from './close-codes.js'
import type { Consumer, ServerSocket } from './socket.js'
import { serverSocketOf } from './socket.js'

/** Bytes that may wait for the client when another chunk is sent. */
const MAX_WAITING = 64 * 1024

/** Close codes after which nothing is missing. */
const COMPLETE: readonly number[] = [CLOSE_CODE.NORMAL_CLOSURE, CLOSE_CODE.NO_STATUS_RECEIVED]

/**
 * A socket as a Duplex of bytes, for `pipeline` and other functions that take streams. The bytes of each
 * received message can be read from the stream, text as its UTF-8; each chunk that is written to the stream
 * is sent as a binary message (as several messages, when the queue, `maxBackpressure`, has no room for the
 * whole chunk). From the call on, the stream gets the messages in place of the `message` handler, so call
 * `duplex` in `open` (or `message`) to miss no message. Backpressure: the stream calls `pause` and `resume`
 * for reading, so do not call them yourself, and waits for `drained` when writing.
 *
 * - The client closes, with 1000 or without a code: the stream ends. With any other code, or without a
 *   closing handshake (1006), part of what the client meant to send may be missing: the stream is destroyed
 *   with a ClosedError that names the code.
 * - `end()` closes with 1000 when all chunks are sent, and `finish` is emitted when the client has answered
 *   the Close frame. WebSocket has no half-closed state: messages that the client still sends then are lost,
 *   and when the client closes first, pending writes fail.
 * - `destroy(error)` closes with 1011, `destroy()` cuts the connection.
 *
 * Throws ERR_ATTACHED while another adapter has the messages, ERR_CLOSED for a closed socket, and OptionError
 * for anything but a socket of a WebSocketServer.
 */
export function duplex<T>(socket: Socket<T>): Duplex {
  return new SocketDuplex(serverSocketOf(socket))
}

class SocketDuplex extends Duplex implements Consumer {
  readonly #socket: ServerSocket<unknown>
  readonly #maxMessage: number
  readonly #share = new TurnShare()
  /** How the connection has ended, once that is known. */
  #end: { readonly error: ClosedError | null } | undefined
  #onEnd: ((error: ClosedError | null) => void) | undefined

  constructor(socket: ServerSocket<unknown>) {
    if (socket.readyState !== 1) throw new ClosedError('the socket is closed')
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#maxMessage = socket.maxSafeMessage
    socket.attach(this)
  }

  onMessage(message: string | Buffer): void {
    const bytes = typeof message === 'string' ? Buffer.from(message) : message
    // A stream drops an empty chunk, so an empty message is not pushed.
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause()
  }

  onClose(code: number): void {
    const error = COMPLETE.includes(code) ? null : new ClosedError(`the connection has ended with close code ${code}`)
    this.#end = { error }
    if (error === null) {
      this.push(null)
      this.#onEnd?.(null)
    } else {
      this.#onEnd?.(error)
      this.destroy(error)
    }
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    // `Socket.send` takes views and Buffers alike, and checks both.
    this.#send(chunk).then(
      () => callback(),
      (error: unknown) => callback(error instanceof Error ? error : new Error(String(error))),
    )
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#end !== undefined) {
      callback(this.#end.error)
      return
    }
    this.#onEnd = callback
    this.#socket.close(CLOSE_CODE.NORMAL_CLOSURE)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (error !== null) this.#socket.close(CLOSE_CODE.INTERNAL_ERROR)
    else if (this.#end === undefined) this.#socket.terminate()
    callback(error)
  }

  async #send(chunk: Buffer): Promise<void> {
    // An empty chunk sends no message, but takes its share: a source may give such chunks for ever.
    let start = 0
    do {
      const message = chunk.subarray(start, start + this.#maxMessage)
      start += this.#maxMessage
      if (this.#share.mustWait) await this.#share.wait()
      this.#share.spendChunk(message.length)
      if (message.length > 0) await this.#sendMessage(message)
    } while (start < chunk.length)
  }

  async #sendMessage(message: Buffer): Promise<void> {
    // The program may fill the queue, too. A message that would not be taken is not sent, since it would
    // count as dropped.
    const threshold = Math.min(MAX_WAITING, this.#maxMessage - message.length)
    if (this.#socket.bufferedAmount > threshold) await this.#socket.drained({ threshold })
    if (this.#socket.send(message) === SendStatus.DROPPED) throw new ClosedError('the socket has closed')
  }
}
