/** A socket's messages for `for await`. */
import type { Buffer } from 'node:buffer'
import type { Socket } from '../types/index.js'
import { Fifo } from '../util/fifo.js'
import type { Arrival, Consumer, ServerSocket } from './socket.js'
import { serverSocketOf } from './socket.js'

/** How many messages, or bytes of messages, wait for the loop before the client has to wait. */
const MAX_WAITING = 16
const MAX_WAITING_BYTES = 64 * 1024

/**
 * The messages of a socket, one by one: text as a string, binary as a Buffer. From the call on, the iterator
 * gets the messages in place of the `message` handler, so call `messages` in `open` (or `message`) to miss no
 * message. Backpressure: a client that sends faster than the loop takes has to wait; the iterator calls
 * `pause` and `resume` for that, so do not call them yourself. No more than 16 messages or 64 KiB, and what
 * one read of the network brings beyond that, are kept for the loop.
 *
 * The iteration ends when the connection has ended, for any reason, and all messages from before were taken:
 * the `close` handler gets the code. When the loop is left, the `message` handler gets the messages again,
 * first those that the loop did not take. Throws ERR_ATTACHED while another adapter has the messages, and
 * OptionError for anything but a socket of a WebSocketServer.
 *
 * ```ts
 * server.ws('/', {
 *   async open(socket) {
 *     for await (const message of messages(socket)) socket.send(await answerTo(message))
 *   },
 * })
 * ```
 */
export function messages<T>(socket: Socket<T>): AsyncIterableIterator<string | Buffer> {
  return new MessageIterator(serverSocketOf(socket))
}

class MessageIterator implements AsyncIterableIterator<string | Buffer>, Consumer {
  readonly #socket: ServerSocket<unknown>
  /** Messages that came, and were not taken. */
  readonly #waiting = new Fifo<Arrival>()
  #waitingBytes = 0
  /** Calls of `next` that wait for a message. */
  readonly #takers = new Fifo<(result: IteratorResult<string | Buffer>) => void>()
  #isPaused = false
  #isOver: boolean

  constructor(socket: ServerSocket<unknown>) {
    this.#socket = socket
    this.#isOver = socket.readyState === 3
    if (!this.#isOver) socket.attach(this)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<string | Buffer>> {
    const arrival = this.#waiting.shift()
    if (arrival !== undefined) {
      this.#waitingBytes -= arrival.data.length
      if (this.#waiting.length === 0 && this.#isPaused) {
        this.#isPaused = false
        this.#socket.resume()
      }
      return { done: false, value: arrival.data }
    }
    if (this.#isOver) return DONE
    return new Promise((resolve) => this.#takers.push(resolve))
  }

  /** Called when the loop is left. */
  async return(): Promise<IteratorResult<string | Buffer>> {
    const unused = this.#waiting.toArray()
    this.#waiting.clear()
    if (!this.#isOver) this.#socket.detach(this, unused)
    this.#end()
    return DONE
  }

  onMessage(data: string | Buffer, isBinary: boolean): void {
    const taker = this.#takers.shift()
    if (taker !== undefined) {
      taker({ done: false, value: data })
      return
    }
    this.#waiting.push({ kind: 'message', data, isBinary, isReturned: true })
    this.#waitingBytes += data.length
    if (this.#isPaused || (this.#waiting.length < MAX_WAITING && this.#waitingBytes < MAX_WAITING_BYTES)) return
    this.#isPaused = true
    this.#socket.pause()
  }

  onClose(): void {
    this.#end()
  }

  #end(): void {
    this.#isOver = true
    for (let taker = this.#takers.shift(); taker !== undefined; taker = this.#takers.shift()) taker(DONE)
  }
}

const DONE: IteratorResult<never> = { done: true, value: undefined }
