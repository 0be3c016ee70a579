/**
 * One WebSocket connection of the portable engine: `ws` with the contract's accounting of bytes and silence.
 *
 * Long because sending, fragments, the closing handshake and the idle timeout ask or change the same counts
 * (`#taken`, `#flushed`, `#drainOwed`). Frames, fragments, input, the measure of silence and the rule of
 * `send` (`send-quota.ts`) are split off; the rest would call back for the counts from each part.
 */

import { Buffer, constants } from 'node:buffer'
import type { Socket as NetSocket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import { bufferOver, byteLengthOf } from '../../util/bytes.js'
import { CLOSE_CODE } from '../../websocket/close-codes.js'
import type { CompressionAgreement, ConnectionEvents, EngineRoute, Fragment, Payload } from '../contract.js'
import { BACKPRESSURE, DrainOwed, hasRoom, isDrainDue, NOT_TAKEN, takenStatus } from '../send-quota.js'
import { closeCodeOf } from './errors.js'
import { type HeldMessage, MessageInFragments } from './fragments.js'
import { FrameReader } from './frames.js'
import { IdleTracker } from './idle-tracker.js'
import type { PacedInput } from './input.js'
import { transportOf } from './tls.js'
import type { Traffic } from './traffic.js'

/** Seconds between the ping and the idle timeout: half of it, and at most this. */
const MAX_PING_MARGIN = 16

/** The head of a Close frame whose mask changes nothing, but for its length. */
const CLOSE_HEAD = [0x88, 0x80, 0, 0, 0, 0]

/** Bytes that an empty message counts for while it waits: if it were none, any number of them could wait. */
const MIN_SIZE = 1
/** Bytes that Node and ws take for a Pong while it waits, beside its own. */
const PONG_COST = 1000

export class PortableConnection {
  readonly #socket: WebSocket
  readonly #stream: NetSocket
  readonly #input: PacedInput
  readonly #frames: FrameReader
  readonly #limits: EngineRoute
  readonly #traffic: Traffic
  readonly #events: ConnectionEvents
  /**
   * Payload bytes taken by `send` and `ping` since the start, and those of them that were given to the
   * kernel.
   */
  #taken = 0
  #flushed = 0
  /**
   * Bytes sent earlier that do not count as waiting. Node reports each write to a TLS socket as done only one
   * turn of the loop later, and compresses on another thread.
   */
  readonly #unreported: number
  /** Whether compression was agreed on. */
  readonly #compresses: boolean
  /** Bytes of a message from which on it is compressed when its sender does not choose. */
  readonly #threshold: number
  #drainOwed: DrainOwed = DrainOwed.none
  /** What `bufferedAmount` is to come down to, for `onBufferedAmountLow`. */
  #lowThreshold: number | undefined
  /** While a message is being sent in fragments. */
  #fragments: MessageInFragments | undefined
  /**
   * Bytes that waited when the outermost `cork` began: bytes sent since then wait for nothing but the end of
   * `cork`.
   */
  #waitingAtCork: number | undefined
  #errorCode: number | undefined
  #isRefused = false
  /** Whether the server has begun to close the connection. */
  #hasClosed = false
  readonly #silence: IdleTracker
  #hasPinged = false
  /** Whether no Pong has come since. */
  #awaitsPong = false
  /** Pongs that ws or Node still has. */
  #pongsWaiting = 0

  constructor(
    socket: WebSocket,
    stream: NetSocket,
    input: PacedInput,
    limits: EngineRoute,
    compression: CompressionAgreement | undefined,
    traffic: Traffic,
    events: ConnectionEvents,
    onEnd: () => void,
  ) {
    this.#socket = socket
    this.#stream = stream
    this.#input = input
    this.#limits = limits
    this.#traffic = traffic
    this.#events = events
    this.#compresses = socket.extensions !== ''
    this.#threshold = compression?.threshold ?? 0
    this.#unreported = stream instanceof TLSSocket || this.#compresses ? stream.writableHighWaterMark : 0
    this.#silence = new IdleTracker(stream)
    this.#frames = new FrameReader(input, limits.maxPayloadLength, compression, {
      onMessage: (bytes, isBinary) => this.#receive(bytes, isBinary),
      onPing: (data) => {
        if (events.answersPings) this.#answerPing(data)
        events.onPing(data)
      },
      onPong: (data) => {
        const answersEngine = this.#awaitsPong && data.length === 0
        if (answersEngine) this.#awaitsPong = false
        events.onPong(data, answersEngine)
      },
      onCloseFrame: (payload) => this.#concludeWith(payload),
      onFailure: (code) => this.#refuse(code),
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#errorCode ??= closeCodeOf(error)
    })
    socket.on('close', (code, reason) => {
      // A short compressed message may inflate to a long one, for a client that has gone. And a server that
      // has closed the connection hears no message any more.
      if (this.#hasClosed || (this.#compresses && wasReset(stream))) {
        this.#frames.close()
        input.discard()
      }
      // Input that came before the end is delivered before the end.
      input.drain(() => {
        this.#frames.close()
        onEnd()
        // No Close frame says 1006.
        if (this.#errorCode === undefined) events.onClose(code, reason.toString(), code !== CLOSE_CODE.ABNORMAL_CLOSURE)
        else events.onClose(this.#errorCode, '', false)
      })
    })
    input.reader = this.#frames
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  get bufferedAmount(): number {
    // The callbacks of writes come late. Empty queues, of the stream and of messages to be compressed, say
    // the same at once.
    if (this.#socket.bufferedAmount === 0) this.#flushed = this.#taken
    return this.#taken - this.#flushed + (this.#fragments?.heldBytes ?? 0)
  }

  /** Fragments have a share of their own. */
  get #limit(): number {
    const { maxBackpressure, maxFragmentLength } = this.#limits
    return this.#fragments === undefined ? maxBackpressure : maxBackpressure - maxFragmentLength
  }

  /** The bytes belong to the connection from here on: they may wait in Node. */
  send(data: Payload, choice: boolean | undefined, isText = false, isReported = false): number {
    if (!this.isOpen) return NOT_TAKEN
    const length = sizeOf(data)
    const size = length || MIN_SIZE
    const message = { data, isBinary: !isText && typeof data !== 'string', size, compress: choice, isReported }
    const status = this.#take(size, () => (this.#fragments === undefined ? this.#give(message) : this.#fragments.hold(message)))
    if (status !== NOT_TAKEN) {
      this.#traffic.messagesSent += 1
      this.#traffic.bytesSent += length
    }
    return status
  }

  beginMessage(): void {
    if (this.#fragments === undefined) this.#fragments = new MessageInFragments()
    else this.#fragments.beginAnother()
  }

  get readyForFragment(): boolean {
    // Held messages wait for the fragments, and the fragments for no held message.
    if (this.#fragments === undefined || this.bufferedAmount === this.#fragments.heldBytes) return true
    this.#fragments.awaitsDrain = true
    return false
  }

  /** The bytes belong to the connection from here on. */
  sendFragment(data: Uint8Array, fragment: Fragment): void {
    if (!this.isOpen || this.#fragments === undefined) return
    const wantsCompression = this.#wantsCompression.bind(this)
    this.#fragments.send(data, fragment, wantsCompression, (bytes, options) =>
      this.#write(bytes.length, (done) => this.#socket.send(bytes, options, done)),
    )
    this.#traffic.bytesSent += data.length
    if (!fragment.isLast) return
    this.#traffic.messagesSent += 1
    this.endMessage()
  }

  /** Messages that have waited behind the fragments follow. */
  endMessage(): void {
    if (!this.isOpen || this.#fragments === undefined) return
    if (!this.#fragments.release((message) => this.#give(message))) this.#fragments = undefined
    // Where nothing was written, no write will end and report that there is room.
    setImmediate(() => this.#settleDrain())
  }

  /** A message of several. */
  publish(data: Payload, choice: boolean | undefined, isText = false): void {
    if (!this.isOpen || this.send(data, choice, isText) !== NOT_TAKEN) return
    this.#traffic.publishesDropped += 1
    if (!this.#limits.reportDrops) return
    const isBinary = !isText && typeof data !== 'string'
    const message = typeof data === 'string' ? data : isText ? bufferOver(data).toString() : bufferOver(data)
    setImmediate(() => this.#events.onDropped(message, isBinary))
  }

  setBufferedAmountLowThreshold(threshold: number): boolean {
    if (!this.isOpen || this.bufferedAmount <= threshold) return false
    this.#lowThreshold = threshold
    return true
  }

  cork<R>(callback: () => R): R {
    const outer = this.#waitingAtCork
    this.#waitingAtCork ??= this.bufferedAmount
    this.#stream.cork()
    try {
      return callback()
    } finally {
      this.#stream.uncork()
      this.#waitingAtCork = outer
    }
  }

  pause(): void {
    if (this.isOpen) this.#input.pause()
  }

  resume(): void {
    this.#silence.begin()
    this.#hasPinged = false
    this.#input.resume()
  }

  ping(data: Payload): number {
    return this.#sendControl(data, (done) => this.#socket.ping(data, false, done))
  }

  pong(data: Payload): number {
    return this.#sendControl(data, (done) => this.#socket.pong(data, false, done))
  }

  #sendControl(data: Payload, give: (done: (error?: Error | null) => void) => void): number {
    if (!this.isOpen) return NOT_TAKEN
    const size = sizeOf(data) || MIN_SIZE
    return this.#take(size, () => this.#write(size, give))
  }

  /**
   * A client that does not read gets no Pong beyond `maxBackpressure`: RFC 6455, section 5.5.3, allows that.
   */
  #answerPing(data: Buffer): void {
    if (!this.isOpen || this.#stream.writableLength + this.#pongsWaiting * PONG_COST > this.#limits.maxBackpressure) return
    this.#pongsWaiting += 1
    this.#socket.pong(Buffer.from(data), false, () => {
      this.#pongsWaiting -= 1
    })
  }

  /** Calls `put` unless the queue has no room. Returns the status of `send`. */
  #take(size: number, put: () => void): number {
    if (!this.#hasRoom(size)) this.#writeCorked()
    if (!this.#hasRoom(size)) {
      this.#drainOwed |= DrainOwed.whenRoom
      return NOT_TAKEN
    }
    const waiting = this.bufferedAmount
    put()
    const status = takenStatus(size, (this.#waitingAtCork ?? waiting) > this.#unreported)
    if (status === BACKPRESSURE) this.#drainOwed |= DrainOwed.whenEmpty
    return status
  }

  #hasRoom(size: number): boolean {
    return hasRoom(this.bufferedAmount, size, this.#limit)
  }

  /** Writes the bytes that wait for nothing but the end of `cork`. */
  #writeCorked(): void {
    if (this.#waitingAtCork === undefined) return
    const { writableCorked } = this.#stream
    for (let n = 0; n < writableCorked; n++) this.#stream.uncork()
    for (let n = 0; n < writableCorked; n++) this.#stream.cork()
  }

  /** Gives a frame to ws. */
  #write(size: number, give: (done: (error?: Error | null) => void) => void, isReported = false): void {
    this.#taken += size
    const end = this.#taken
    give((error) => {
      // What was cut was not given to the kernel; Node does not say so of every write.
      if (error || this.#stream.destroyed) return
      if (end > this.#flushed) this.#flushed = end
      if (isReported) this.#events.onSent()
      this.#settleDrain()
      if (this.#isRefused) this.#endWhenSent()
    })
  }

  #give({ data, isBinary, size, compress, isReported }: HeldMessage): void {
    const options = { binary: isBinary, compress: this.#wantsCompression(data.length && size, compress) }
    this.#write(size, (done) => this.#socket.send(data, options, done), isReported)
  }

  #wantsCompression(size: number, choice: boolean | undefined): boolean {
    // There is nothing to compress in an empty message.
    return this.#compresses && size > 0 && (choice ?? size >= this.#threshold)
  }

  #settleDrain(): void {
    if (this.#fragments?.awaitsDrain && this.readyForFragment) {
      this.#fragments.awaitsDrain = false
      if (this.isOpen) this.#events.onFragmentDrain()
    }
    const waiting = this.bufferedAmount
    if (this.#lowThreshold !== undefined && waiting <= this.#lowThreshold) {
      this.#lowThreshold = undefined
      if (this.isOpen) this.#events.onBufferedAmountLow()
    }
    if (!isDrainDue(this.#drainOwed, waiting, this.#limit)) return
    this.#drainOwed = waiting === 0 ? DrainOwed.none : this.#drainOwed & ~DrainOwed.whenRoom
    if (this.isOpen || waiting === 0) this.#events.onDrain()
  }

  #receive(bytes: Buffer, isBinary: boolean): void {
    this.#traffic.messagesReceived += 1
    this.#traffic.bytesReceived += bytes.length
    if (isBinary || this.#limits.textAsBytes) this.#events.onMessage(bytes, isBinary)
    else if (bytes.length <= constants.MAX_STRING_LENGTH) this.#events.onMessage(bytes.toString(), false)
    else this.#refuse(CLOSE_CODE.MESSAGE_TOO_BIG)
  }

  /** Has `ws` conclude the closing handshake: `ws` gets no other frames. */
  #concludeWith(payload: Buffer): void {
    this.#oweLastDrain()
    const frame = Buffer.from([...CLOSE_HEAD, ...payload])
    frame.writeUInt8(0x80 | payload.length, 1)
    this.#input.give(frame)
    this.#input.discard()
  }

  /**
   * Ends the connection for an error that FrameReader has found, as `ws` does for its own errors: the client
   * need not answer the Close frame.
   */
  #refuse(code: number): void {
    this.#errorCode = code
    this.#isRefused = true
    this.#frames.close()
    this.#input.discard()
    this.close(code, '')
    this.#endWhenSent()
  }

  /** The Close frame is the last that ws gives to the stream. What is being compressed is before it. */
  #endWhenSent(): void {
    if (this.#socket.bufferedAmount === this.#stream.writableLength) this.#stream.end()
  }

  /** Nothing more is sent: the sender is told when what waits has left, whatever a status has promised. */
  #oweLastDrain(): void {
    if (this.bufferedAmount > 0) this.#drainOwed |= DrainOwed.whenEmpty
  }

  close(code: number, reason: string): void {
    this.#hasClosed = true
    this.#oweLastDrain()
    // The client's Close frame must be read.
    if (this.#input.isPaused) this.#input.resume()
    if (code === CLOSE_CODE.NO_STATUS_RECEIVED) this.#socket.close()
    else this.#socket.close(code, reason)
  }

  terminate(): void {
    this.#frames.close()
    this.#input.discard()
    this.#socket.terminate()
  }

  /** Called every second or so, with the time. */
  check(now: number): void {
    if (this.#compresses || this.#input.isPaused) this.#input.probe()
    this.#checkSilence(now)
  }

  /** A connection that is closing has the 30 seconds of its handshake instead. */
  #checkSilence(now: number): void {
    const { idleTimeout, sendPings } = this.#limits
    if (idleTimeout === 0 || !this.isOpen || this.#input.isPaused) return
    const isBehind = this.bufferedAmount > this.#unreported
    const silence = this.#silence.measure(now, this.#flushed, isBehind)
    if (silence === 0) {
      this.#hasPinged = false
    } else if (silence >= idleTimeout) {
      this.terminate()
    } else if (sendPings && !this.#hasPinged && silence >= idleTimeout - Math.min(idleTimeout / 2, MAX_PING_MARGIN)) {
      this.#hasPinged = true
      this.#awaitsPong = true
      this.#socket.ping()
    }
  }
}

/** Whether the client, or its system, has reset the connection, rather than ended it. */
function wasReset(stream: NetSocket): boolean {
  return (stream.errored ?? transportOf(stream).errored) !== null
}

function sizeOf(data: Payload): number {
  return typeof data === 'string' ? Buffer.byteLength(data) : byteLengthOf(data)
}
