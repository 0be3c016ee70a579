/** A socket's messages for `for await`. */
import type { Buffer } from 'node:buffer'
import type { Socket } from '../types/index.js'
import { Fifo } from '../util/fifo.js'
import type { Arrival, Consumer, ServerSocket } from './socket.js'
import { serverSocketOf } from './socket.js'

/** How many messages, or bytes of them, wait for the loop before the client has to. */
const MAX_WAITING = 16
const MAX_WAITING_BYTES = 64 * 1024

/**
 * The messages of a socket, one by one: text as a string, binary as a Buffer. From the call on they come here
 * in place of the `message` handler, so call it in `open` (or `message`) to miss none. A client that sends
 * faster than the loop takes is made to wait, by `pause` and `resume`, which are not for others to call
 * meanwhile; no more than 16 messages or 64 KiB, and what one read of the network brings beyond that, are
 * kept for the loop.
 *
 * The iteration ends when the connection has, in whatever way, after all that came before: the `close`
 * handler knows why. Leaving the loop gives the messages back to the `message` handler, those first that the
 * loop did not take. Throws ERR_ATTACHED while another adapter has them, and OptionError for anything but a
 * socket of a WebSocketServer.
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
  /** What came, and was not taken. */
  readonly #waiting = new Fifo<Arrival>()
  #waitingBytes = 0
  /** Who takes what has not come. */
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

  /** The loop was left. */
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
