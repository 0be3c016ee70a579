/**
 * What a socket receives while its handlers do not get it directly: because the socket is paused, by the
 * program or by its route's `rateLimit`, or because an adapter takes the messages. A socket has an
 * InboundQueue only from the first pause or adapter on (from the start where its route has a rate limit), so
 * that the path of a message stays short.
 */
import { Buffer } from 'node:buffer'
import { throwUncaught } from '../core/uncaught.js'
import { WebSocketServerError } from '../errors.js'
import { MAX_INT32 } from '../options/checks.js'
import { Fifo } from '../util/fifo.js'
import { type RateLimitSettings, RateMeter } from './rate-limit.js'

/** Takes a socket's messages in place of its `message` handler. */
export interface Consumer {
  /** An error that it throws, as listeners of streams may, is an uncaught exception. */
  onMessage(message: string | Buffer, isBinary: boolean): void
  /** The connection has ended; everything that came before the end was delivered. */
  onClose(code: number, reason: string): void
}

/** The socket as its InboundQueue sees it. */
export interface InboundSocket {
  /** Whether messages may be delivered. */
  readonly isOpen: boolean
  handleMessage(message: string | Buffer, isBinary: boolean): void
  handlePing(data: Buffer): void
  handlePong(data: Buffer, isUnsolicited: boolean): void
  stopReading(): void
  startReading(): void
  /** The client has sent more than the rate limit allows, and has to wait now. */
  rateLimited(): void
  /**
   * The client has sent more than a rate limit with `action: 'close'` allows. The socket is no longer open
   * when this returns.
   */
  closeForRate(): void
}

/** A message, ping or pong that came in. */
export type Arrival =
  | {
      readonly kind: 'message'
      readonly data: string | Buffer
      readonly isBinary: boolean
      /** Whether a consumer has given the message back: the rate limit has counted it already. */
      readonly isReturned?: boolean
    }
  | { readonly kind: 'ping'; readonly data: Buffer }
  | { readonly kind: 'pong'; readonly data: Buffer; readonly isUnsolicited: boolean }

export class InboundQueue {
  readonly #socket: InboundSocket
  /** Undefined where the route has no rate limit. */
  readonly #rateLimit: RateLimitSettings | undefined
  readonly #meter: RateMeter | undefined
  /**
   * Arrivals that had been read when reading stopped, in order. No more than one read of the engine brings.
   */
  readonly #held = new Fifo<Arrival>()
  #isPaused = false
  /** When the pause began, on the clock of `performance.now`. */
  #pausedAt = 0
  /** Set while the rate limit makes the client wait. */
  #throttle: NodeJS.Timeout | undefined
  /** Whether `#release` runs, or is scheduled to run. */
  #isReleasing = false
  #consumer: Consumer | undefined

  constructor(socket: InboundSocket, rateLimit: RateLimitSettings | undefined) {
    this.#socket = socket
    this.#rateLimit = rateLimit
    this.#meter = rateLimit && new RateMeter(rateLimit)
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** Whether everything may go straight to the handlers from now on. */
  get isIdle(): boolean {
    const isFree = this.#meter === undefined && this.#consumer === undefined
    return isFree && !this.#isPaused && this.#held.length === 0 && !this.#isReleasing
  }

  pause(): void {
    if (this.#isPaused) return
    this.#isPaused = true
    if (this.#meter !== undefined) this.#pausedAt = performance.now()
    this.#socket.stopReading()
  }

  /** Held arrivals are delivered first, after the caller has returned; then reading goes on. */
  resume(): void {
    if (!this.#isPaused) return
    this.#endPause()
    this.#releaseSoon()
  }

  /** Throws ERR_ATTACHED. */
  attach(consumer: Consumer): void {
    if (this.#consumer !== undefined) {
      throw new WebSocketServerError('ERR_ATTACHED', 'the messages of this socket go to another adapter already')
    }
    this.#consumer = consumer
  }

  /**
   * The handler gets the messages again, first those that the consumer took and did not use. A pause ends.
   */
  detach(consumer: Consumer, unused: readonly Arrival[]): void {
    if (this.#consumer !== consumer) return
    this.#consumer = undefined
    const held = this.#held.toArray()
    this.#held.clear()
    for (const arrival of unused) this.#held.push(arrival)
    for (const arrival of held) this.#held.push(arrival)
    this.#endPause()
    this.#releaseSoon()
  }

  arrived(arrival: Arrival): void {
    if (this.#isBlocked || this.#isReleasing || !this.#isAdmitted(arrival)) this.#held.push(arrival)
    else this.#deliver(arrival)
  }

  /** The connection has ended: everything that is held is delivered now, paused or not. */
  flush(): void {
    // A message that a rate limit of 'pause' holds has no later time to wait for. A message for which a limit
    // of 'close' would have closed the connection is not delivered.
    const isLimited = this.#rateLimit?.closes === true
    for (let next = this.#held.first; next !== undefined && this.#socket.isOpen; next = this.#held.first) {
      if (isLimited && !this.#isAdmitted(next)) break
      this.#held.shift()
      this.#deliver(next)
    }
    this.stop()
  }

  /** Nothing is delivered any more. */
  stop(): void {
    clearTimeout(this.#throttle)
    this.#held.clear()
  }

  /** After `flush`. */
  ended(code: number, reason: string): void {
    this.#consumer?.onClose(code, reason)
  }

  get #isBlocked(): boolean {
    return this.#isPaused || this.#throttle !== undefined
  }

  #endPause(): void {
    if (this.#isPaused && this.#rateLimit?.closes) this.#meter?.forgive(this.#pausedAt, performance.now())
    this.#isPaused = false
  }

  #releaseSoon(): void {
    if (this.#isReleasing) return
    this.#isReleasing = true
    queueMicrotask(() => this.#release())
  }

  /**
   * Delivers what is held. The handlers that this calls may pause the socket, attach a consumer, or close.
   */
  #release(): void {
    while (!this.#isBlocked && this.#socket.isOpen) {
      const next = this.#held.first
      if (next === undefined || !this.#isAdmitted(next)) break
      this.#held.shift()
      this.#deliver(next)
    }
    this.#isReleasing = false
    if (!this.#isBlocked && this.#socket.isOpen) this.#socket.startReading()
  }

  /**
   * Whether the rate limit lets the arrival through now. If not, the client has been made to wait, or the
   * connection was closed.
   */
  #isAdmitted(arrival: Arrival): boolean {
    if (this.#meter === undefined || this.#rateLimit === undefined) return true
    if (arrival.kind !== 'message' || arrival.isReturned) return true
    const { data } = arrival
    const now = performance.now()
    const wait = this.#meter.take(typeof data === 'string' ? Buffer.byteLength(data) : data.length, now)
    if (wait === 0) return true
    if (this.#rateLimit.closes) this.#socket.closeForRate()
    else {
      this.#socket.rateLimited()
      this.#socket.stopReading()
      this.#throttleUntil(now + wait)
    }
    return false
  }

  #throttleUntil(end: number): void {
    // Rounded up: a timer of less than a millisecond would fire too early. An open connection keeps the
    // process alive by itself.
    const milliseconds = Math.min(Math.ceil(end - performance.now()), MAX_INT32)
    this.#throttle = setTimeout(() => {
      if (performance.now() < end) {
        this.#throttleUntil(end)
      } else {
        this.#throttle = undefined
        this.#releaseSoon()
      }
    }, milliseconds).unref()
  }

  #deliver(arrival: Arrival): void {
    if (arrival.kind === 'message') {
      if (this.#consumer === undefined) this.#socket.handleMessage(arrival.data, arrival.isBinary)
      else this.#consume(this.#consumer, arrival.data, arrival.isBinary)
    } else if (arrival.kind === 'ping') {
      this.#socket.handlePing(arrival.data)
    } else {
      this.#socket.handlePong(arrival.data, arrival.isUnsolicited)
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
