/**
 * What a socket does with what comes in while its handlers do not get it: because it is paused, or because an adapter takes the
 * messages. A socket has none of these until then, so that the path of a message stays as short as it is.
 */
import type { Buffer } from 'node:buffer'
import { WebSocketServerError } from './errors.js'
import { throwUncaught } from './uncaught.js'

/** Takes a socket's messages in place of its `message` handler. */
export interface Consumer {
  /** What it throws, as listeners of streams may, is an uncaught exception. */
  onMessage(message: string | Buffer, isBinary: boolean): void
  /** The connection has ended; everything that came before it was delivered. */
  onClose(code: number, reason: string): void
}

/** The socket as its intake sees it. */
export interface IntakeSocket {
  /** Whether anything may be delivered. */
  readonly isOpen: boolean
  handleMessage(message: string | Buffer, isBinary: boolean): void
  handlePing(data: Buffer): void
  handlePong(data: Buffer): void
  stopReading(): void
  startReading(): void
}

/** Something that came in. */
export type Arrival =
  | { readonly kind: 'message'; readonly data: string | Buffer; readonly isBinary: boolean }
  | { readonly kind: 'ping' | 'pong'; readonly data: Buffer }

export class Intake {
  readonly #socket: IntakeSocket
  /** What had been read when reading stopped, in order. No more than one read of the engine brings. */
  #held: Arrival[] = []
  /** So many of them were delivered. */
  #head = 0
  #isPaused = false
  /** Whether `#release` will run, or does. */
  #isReleasing = false
  #consumer: Consumer | undefined

  constructor(socket: IntakeSocket) {
    this.#socket = socket
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Whether everything may go straight to the handlers. */
  get isIdle(): boolean {
    return !this.#isPaused && this.#held.length === 0 && !this.#isReleasing && this.#consumer === undefined
  }

  pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    this.#socket.stopReading()
  }

  /** What is held comes first, after the caller has returned; then reading goes on. */
  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#releaseSoon()
  }

  /** Throws ERR_ATTACHED. */
  attach(consumer: Consumer): void {
    if (this.#consumer !== undefined) {
      throw new WebSocketServerError('ERR_ATTACHED', 'the messages of this socket go to another adapter already')
    }
    this.#consumer = consumer
  }

  /** The handler gets the messages again, first those that the consumer took and has no use for. A pause ends. */
  detach(consumer: Consumer, unused: readonly Arrival[]): void {
    if (this.#consumer !== consumer) return
    this.#consumer = undefined
    this.#held = [...unused, ...this.#held.slice(this.#head)]
    this.#head = 0
    this.#isPaused = false
    this.#releaseSoon()
  }

  arrived(arrival: Arrival): void {
    if (this.#isPaused || this.#isReleasing) this.#held.push(arrival)
    else this.#deliver(arrival)
  }

  /** The connection has ended: whatever is held comes now, paused or not. */
  flush(): void {
    while (this.#socket.isOpen && this.#deliverNext());
    this.#held = []
    this.#head = 0
  }

  /** After `flush`. */
  ended(code: number, reason: string): void {
    this.#consumer?.onClose(code, reason)
  }

  #releaseSoon(): void {
    if (this.#isReleasing) return
    this.#isReleasing = true
    queueMicrotask(() => this.#release())
  }

  #release(): void {
    while (!this.#isPaused && this.#socket.isOpen && this.#deliverNext());
    this.#held.splice(0, this.#head)
    this.#head = 0
    this.#isReleasing = false
    if (!this.#isPaused && this.#socket.isOpen) this.#socket.startReading()
  }

  /** False when nothing is held. What it calls may change all of this. */
  #deliverNext(): boolean {
    const arrival = this.#held[this.#head]
    if (arrival === undefined) return false
    this.#head += 1
    this.#deliver(arrival)
    return true
  }

  #deliver(arrival: Arrival): void {
    if (arrival.kind === 'message') {
      if (this.#consumer === undefined) this.#socket.handleMessage(arrival.data, arrival.isBinary)
      else this.#consume(this.#consumer, arrival.data, arrival.isBinary)
    } else if (arrival.kind === 'ping') {
      this.#socket.handlePing(arrival.data)
    } else {
      this.#socket.handlePong(arrival.data)
    }
  }

  #consume(consumer: Consumer, data: string | Buffer, isBinary: boolean): void {
    try {
      consumer.onMessage(data, isBinary)
    } catch (error) {
      throwUncaught(error)
    }
  }
}
