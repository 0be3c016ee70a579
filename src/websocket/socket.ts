/**
 * One WebSocket connection. Handlers see this object as a `Socket`, and an engine reports events to it as
 * `ConnectionEvents`. The paths from a message to its handler and from `send` to the engine run for every
 * message, and allocate nothing.
 *
 * Long because each of the calls and events is here, in a few lines each, on the few private fields of one
 * object. What they do was split off where it has state of its own: `InboundQueue`, `DrainWaiters`,
 * `SendStreams`, `TopicCounts`. To split the calls from the events would take a second object for each
 * connection, or make the fields public.
 */
import { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { channels } from '../core/diagnostics.js'
import type { Counters } from '../core/metrics.js'
import type { ConnectionEvents, ConnectionId, EngineConnections, Payload } from '../engine/contract.js'
import { ClosedError, DroppedError, OptionError } from '../errors.js'
import type { LocalEndpoint } from '../http/addresses.js'
import { checkCloseFrame, checkPingLength, checkTopic, type OutgoingMessage, toMessage, toPayload } from '../options/arguments.js'
import { checkFunction } from '../options/checks.js'
import { checkSource, type ResolvedRoute, resolveDrained, resolveStream } from '../options/websocket.js'
import {
  type Data,
  type DrainedOptions,
  type SendOptions,
  SendStatus,
  type SendStreamOptions,
  type Socket,
  type WebSocketHandlers,
} from '../types/index.js'
import { bufferOver } from '../util/bytes.js'
import { kIndex, type Member } from '../util/ordered-set.js'
import { isThenable } from '../util/thenable.js'
import { CLOSE_CODE } from './close-codes.js'
import { DrainWaiters } from './drain-waiters.js'
import { type Arrival, type Consumer, InboundQueue, type InboundSocket } from './inbound-queue.js'
import { SendCompletions } from './send-completions.js'
import { abandon, SendStreams } from './send-streams.js'
import { SentPings } from './sent-pings.js'
import type { Subscriber, TopicCounts } from './topic-counts.js'

export type { Arrival, Consumer } from './inbound-queue.js'

const OPEN = 1
const CLOSING = 2
const CLOSED = 3

/** Bytes of a socket's id: 96 bits, so that ids are unique and cannot be guessed. */
const ID_BYTES = 12

/**
 * Times are kept relative to this one: V8 keeps small integers (24 days of milliseconds) inside of an object,
 * and gives other numbers 16 bytes of their own.
 */
const EPOCH = Date.now()

const RATE_CLOSE_REASON = 'rate limit exceeded'

/** What a socket's server does for the socket. */
export interface SocketOwner {
  readonly counters: Counters
  /** Undefined where there is no backplane, and no route has a `subscription` handler. */
  readonly subscriptions: TopicCounts | undefined
  /** As EngineServer.publish, and hands the message to the backplane. */
  publish(topic: string, message: OutgoingMessage, except: ConnectionId): boolean
  /** A handler has thrown or rejected; `report` may follow. */
  failed(error: unknown, socket?: ServerSocket<unknown>): void
  /** Takes an error that a handler threw, where the route has no `error` handler. */
  report(error: unknown): void
  /** The connection has ended, and its `close` handler is about to run. */
  ended(socket: ServerSocket<unknown>): void
}

/** What the sockets of a route have in common: one field in each socket instead of four. */
export interface RouteContext<T> {
  readonly owner: SocketOwner
  readonly connections: EngineConnections
  readonly handlers: WebSocketHandlers<T>
  readonly route: ResolvedRoute
}

/** Fields that most sockets never need: an idle socket does not spend memory on them. */
class Extras {
  id: string | undefined
  /** Set while messages do not go straight to their handler. */
  inboundQueue: InboundQueue | undefined
  waiters: DrainWaiters | undefined
  streams: SendStreams | undefined
  completions: SendCompletions | undefined
  /** Where the route has a `pong` handler. */
  pings: SentPings | undefined
}

/** The handshake's results. */
export interface HandshakeResult<T> {
  readonly data: T
  /** Empty for none. */
  readonly protocol: string
  /** The value of Sec-WebSocket-Extensions; empty for none. */
  readonly extensions: string
  readonly remoteAddress: string
  readonly remotePort: number
  /** Sockets share it. */
  readonly local: LocalEndpoint
}

export class ServerSocket<T> implements Socket<T>, ConnectionEvents, Subscriber, InboundSocket, Member {
  data: T
  readonly protocol: string
  readonly extensions: string
  readonly remoteAddress: string
  readonly remotePort: number
  readonly #local: LocalEndpoint
  readonly #context: RouteContext<T>
  /** Milliseconds since EPOCH. */
  readonly #connectedAt = Date.now() - EPOCH
  #connection: ConnectionId = 0
  #place = 0
  #readyState: 1 | 2 | 3 = OPEN
  #extras: Extras | undefined

  constructor(context: RouteContext<T>, handshake: HandshakeResult<T>) {
    this.#context = context
    this.data = handshake.data
    this.protocol = handshake.protocol
    this.extensions = handshake.extensions
    this.remoteAddress = handshake.remoteAddress
    this.remotePort = handshake.remotePort
    this.#local = handshake.local
    if (context.route.rateLimit !== undefined) this.#takeIn()
  }

  /** The handshake is done: from here on the engine knows this socket by this connection id. */
  opened(connection: ConnectionId): void {
    this.#connection = connection
    try {
      this.#watch(this.#context.handlers.open?.(this))
    } catch (error) {
      this.#fail(error)
    }
  }

  /** The socket's place among the sockets of its server (OrderedSet). */
  get [kIndex](): number {
    return this.#place
  }

  set [kIndex](place: number) {
    this.#place = place
  }

  get localAddress(): string {
    return this.#local.address
  }

  get localPort(): number {
    return this.#local.port
  }

  get connectedAt(): number {
    return EPOCH + this.#connectedAt
  }

  get id(): string {
    const extras = this.#extend()
    extras.id ??= randomBytes(ID_BYTES).toString('base64url')
    return extras.id
  }

  /** The id, if it was ever asked for. */
  get knownId(): string | undefined {
    return this.#extras?.id
  }

  get readyState(): 1 | 2 | 3 {
    // The engine knows of the client's Close frame, or of the end, before it calls `onClose`.
    if (this.#readyState === OPEN && !this.#context.connections.isOpen(this.#connection)) return CLOSING
    return this.#readyState
  }

  get bufferedAmount(): number {
    return this.#readyState === CLOSED ? 0 : this.#context.connections.bufferedAmount(this.#connection)
  }

  get topics(): readonly string[] {
    return this.#readyState === OPEN ? this.#context.connections.topics(this.#connection) : []
  }

  send(data: Data, options?: boolean | SendOptions): number {
    // Most calls have no options, and need no object.
    if (options === undefined) return this.#send(toPayload(data), undefined, false)
    const { payload, compress, isText } = toMessage(data, options)
    return this.#send(payload, compress, isText)
  }

  #send(payload: Payload, compress: boolean | undefined, isText: boolean): number {
    if (this.#readyState !== OPEN) return SendStatus.DROPPED
    const status = this.#context.connections.send(this.#connection, payload, compress, isText)
    if (status <= 0) this.#notSent(status, payload, isText)
    return status
  }

  sendAndFlush(data: Data, options?: boolean | SendOptions): Promise<void> {
    const { payload, compress, isText } = toMessage(data, options)
    const { connections } = this.#context
    const status = this.#readyState === OPEN ? connections.sendReported(this.#connection, payload, compress, isText) : undefined
    if (status !== undefined && status <= 0) this.#notSent(status, payload, isText)
    if (status !== undefined && status !== SendStatus.DROPPED) {
      const extras = this.#extend()
      extras.completions ??= new SendCompletions()
      return extras.completions.add()
    }
    const isClosed = status === undefined || !connections.isOpen(this.#connection)
    const failed = Promise.reject(isClosed ? new ClosedError('the socket is closed') : new DroppedError())
    // A caller that ignores the promise need not catch anything.
    failed.catch(() => {})
    return failed
  }

  async sendStream(source: AsyncIterable<Data>, options: SendStreamOptions = {}): Promise<void> {
    checkSource(source)
    const settings = resolveStream(options)
    if (this.#readyState !== OPEN || settings.signal?.aborted) {
      abandon(source)
      settings.signal?.throwIfAborted()
      throw new ClosedError('the socket is closed')
    }
    const extras = this.#extend()
    extras.streams ??= new SendStreams({
      connections: this.#context.connections,
      connection: this.#connection,
      maxFragmentLength: this.#context.route.maxFragmentLength,
      fail: () => this.close(CLOSE_CODE.INTERNAL_ERROR),
    })
    await extras.streams.send(source, settings)
  }

  async drained(options: DrainedOptions = {}): Promise<void> {
    const { threshold, signal } = resolveDrained(options)
    signal?.throwIfAborted()
    if (this.#readyState !== OPEN) throw new ClosedError('the socket is closed')
    const extras = this.#extend()
    extras.waiters ??= new DrainWaiters(this.#context.connections, this.#connection)
    await extras.waiters.wait(threshold, signal)
  }

  cork<R>(callback: (socket: this) => R): R {
    checkFunction('callback', callback)
    return this.#readyState === OPEN ? this.#context.connections.cork(this.#connection, () => callback(this)) : callback(this)
  }

  pause(): void {
    if (this.#readyState !== OPEN) return
    this.#takeIn().pause()
  }

  resume(): void {
    this.#extras?.inboundQueue?.resume()
  }

  ping(data: Data = ''): number {
    const payload = toPayload(data)
    checkPingLength(payload)
    if (this.#readyState !== OPEN) return SendStatus.DROPPED
    const status = this.#context.connections.ping(this.#connection, payload)
    if (status !== SendStatus.DROPPED && this.#context.handlers.pong !== undefined) {
      const extras = this.#extend()
      extras.pings ??= new SentPings()
      extras.pings.add(payload)
    }
    return status
  }

  pong(data: Data = ''): number {
    const payload = toPayload(data)
    checkPingLength(payload)
    return this.#readyState === OPEN ? this.#context.connections.pong(this.#connection, payload) : SendStatus.DROPPED
  }

  close(code?: number, reason = ''): void {
    // A Close frame has a code before its reason.
    const given = code === undefined && reason !== '' ? CLOSE_CODE.NORMAL_CLOSURE : code
    if (given !== undefined) checkCloseFrame(given, reason)
    if (this.#readyState !== OPEN) return
    this.#readyState = CLOSING
    this.#context.connections.close(this.#connection, given ?? CLOSE_CODE.NO_STATUS_RECEIVED, reason)
    this.#closing()
  }

  terminate(): void {
    if (this.#readyState === CLOSED) return
    this.#readyState = CLOSING
    this.#context.connections.terminate(this.#connection)
    this.#closing()
  }

  subscribe(topic: string): boolean {
    checkTopic(topic)
    if (this.#readyState !== OPEN || !this.#context.connections.subscribe(this.#connection, topic)) return false
    this.#context.owner.subscriptions?.add(this, topic)
    return true
  }

  unsubscribe(topic: string): boolean {
    checkTopic(topic)
    if (this.#readyState !== OPEN || !this.#context.connections.unsubscribe(this.#connection, topic)) return false
    this.#context.owner.subscriptions?.remove(this, topic)
    return true
  }

  isSubscribed(topic: string): boolean {
    checkTopic(topic)
    return this.#readyState === OPEN && this.#context.connections.isSubscribed(this.#connection, topic)
  }

  publish(topic: string, data: Data, options?: boolean | SendOptions): boolean {
    checkTopic(topic)
    const message = toMessage(data, options)
    return this.#readyState === OPEN && this.#context.owner.publish(topic, message, this.#connection)
  }

  onMessage(message: string | Buffer, isBinary: boolean): void {
    if (this.#readyState !== OPEN) return
    const inboundQueue = this.#extras?.inboundQueue
    if (inboundQueue === undefined) this.handleMessage(message, isBinary)
    else inboundQueue.arrived({ kind: 'message', data: this.#keepable(message), isBinary })
  }

  handleMessage(message: string | Buffer, isBinary: boolean): void {
    try {
      const result = this.#context.handlers.message?.(this, message, isBinary)
      if (result !== undefined) this.#watch(result)
    } catch (error) {
      this.#fail(error)
    }
  }

  onDrain(): void {
    if (this.#readyState === CLOSED) return
    try {
      this.#watch(this.#context.handlers.drain?.(this))
    } catch (error) {
      this.#fail(error)
    }
  }

  onBufferedAmountLow(): void {
    if (this.#readyState === OPEN) this.#extras?.waiters?.bufferIsLow()
  }

  onFragmentDrain(): void {
    if (this.#readyState === OPEN) this.#extras?.streams?.fragmentDrained()
  }

  onDropped(message: string | Buffer, isBinary: boolean): void {
    if (this.#readyState === CLOSED) return
    try {
      this.#watch(this.#context.handlers.dropped?.(this, message, isBinary))
    } catch (error) {
      this.#fail(error)
    }
    if (this.#context.route.closeOnBackpressureLimit) this.terminate()
  }

  onSent(): void {
    this.#extras?.completions?.sent()
  }

  get detachesMessages(): boolean {
    return this.#context.route.detachMessages
  }

  get answersPings(): boolean {
    return this.#context.route.autoPong
  }

  onPing(data: Buffer): void {
    if (this.#readyState !== OPEN) return
    const inboundQueue = this.#extras?.inboundQueue
    if (inboundQueue === undefined) this.handlePing(data)
    else inboundQueue.arrived({ kind: 'ping', data })
  }

  handlePing(data: Buffer): void {
    try {
      this.#watch(this.#context.handlers.ping?.(this, data))
    } catch (error) {
      this.#fail(error)
    }
  }

  onPong(data: Buffer, answersEngine: boolean): void {
    if (this.#readyState !== OPEN) return
    const isUnsolicited = !answersEngine && this.#extras?.pings?.answeredBy(data) !== true
    const inboundQueue = this.#extras?.inboundQueue
    if (inboundQueue === undefined) this.handlePong(data, isUnsolicited)
    else inboundQueue.arrived({ kind: 'pong', data, isUnsolicited })
  }

  handlePong(data: Buffer, isUnsolicited: boolean): void {
    try {
      this.#watch(this.#context.handlers.pong?.(this, data, isUnsolicited))
    } catch (error) {
      this.#fail(error)
    }
  }

  onClose(code: number, reason: string, wasClean: boolean): void {
    this.#extras?.inboundQueue?.flush()
    this.#readyState = CLOSED
    this.#closing()
    if (this.#extras?.inboundQueue !== undefined) {
      this.#extras.inboundQueue.ended(code, reason)
      this.#extras.inboundQueue = undefined
    }
    this.#extras?.completions?.end()
    this.#context.owner.ended(this)
    if (channels.close.hasSubscribers) channels.close.publish({ socket: this, code, reason, wasClean })
    try {
      this.#watch(this.#context.handlers.close?.(this, code, reason, wasClean))
    } catch (error) {
      this.#fail(error)
    }
  }

  onSubscription(topic: string, subscribers: number, before: number): void {
    try {
      this.#watch(this.#context.handlers.subscription?.(this, topic, subscribers, before))
    } catch (error) {
      this.#fail(error)
    }
  }

  // ---- for adapters, and for the inbound queue ----

  get isOpen(): boolean {
    return this.#readyState === OPEN
  }

  /**
   * Bytes of the longest message that fits into an empty queue, even while a message is being sent in
   * fragments.
   */
  get maxSafeMessage(): number {
    return Math.max(1, this.#context.route.maxBackpressure - this.#context.route.maxFragmentLength)
  }

  /** From now on the messages go to the consumer. Throws ERR_ATTACHED when another consumer has them. */
  attach(consumer: Consumer): void {
    this.#takeIn().attach(consumer)
  }

  /** The `message` handler gets the messages again, first the unused ones. */
  detach(consumer: Consumer, unused: readonly Arrival[]): void {
    this.#extras?.inboundQueue?.detach(consumer, unused)
  }

  stopReading(): void {
    this.#context.connections.pause(this.#connection)
  }

  startReading(): void {
    this.#context.connections.resume(this.#connection)
    if (this.#extras?.inboundQueue?.isIdle) this.#extras.inboundQueue = undefined
  }

  rateLimited(): void {
    this.#context.owner.counters.rateLimitPauses += 1
  }

  closeForRate(): void {
    this.#context.owner.counters.rateLimitCloses += 1
    this.close(CLOSE_CODE.POLICY_VIOLATION, RATE_CLOSE_REASON)
  }

  #extend(): Extras {
    this.#extras ??= new Extras()
    return this.#extras
  }

  #takeIn(): InboundQueue {
    const extras = this.#extend()
    extras.inboundQueue ??= new InboundQueue(this, this.#context.route.rateLimit)
    return extras.inboundQueue
  }

  /** For what is not delivered before the handler, or `onMessage`, returns: lent bytes are copied. */
  #keepable(data: string | Buffer): string | Buffer {
    const { lendMessages, detachMessages } = this.#context.route
    return typeof data === 'string' || !(lendMessages || detachMessages) ? data : Buffer.from(data)
  }

  /** From here on nothing is sent any more. */
  #closing(): void {
    this.#context.owner.subscriptions?.leave(this)
    this.#extras?.inboundQueue?.stop()
    this.#extras?.waiters?.end()
    this.#extras?.streams?.end()
  }

  /** `send` has returned -1 or 0. */
  #notSent(status: number, payload: Payload, isText: boolean): void {
    const isDropped = status === SendStatus.DROPPED
    if (isDropped && !this.#context.connections.isOpen(this.#connection)) return
    if (channels.backpressure.hasSubscribers) {
      channels.backpressure.publish({ socket: this, outcome: isDropped ? 'dropped' : 'queued' })
    }
    if (isDropped) this.#refused(payload, isText)
  }

  #refused(payload: Payload, isText: boolean): void {
    this.#context.owner.counters.sendsDropped += 1
    if (!this.#context.route.reportDrops) return
    const isBinary = !isText && typeof payload !== 'string'
    const bytes = typeof payload === 'string' ? payload : this.#keepable(bufferOver(payload))
    const message = isText ? bytes.toString() : bytes
    // Not in this turn: a handler that sends once more must not keep the event loop from other work.
    setImmediate(() => this.onDropped(message, isBinary))
  }

  /** Reports the failure of an asynchronous handler. A handler that succeeds needs no report. */
  #watch(result: unknown): void {
    if (!isThenable(result)) return
    Promise.resolve(result).catch((error: unknown) => this.#fail(error))
  }

  #fail(error: unknown): void {
    this.#context.owner.failed(error, this)
    if (this.#context.handlers.error === undefined) {
      this.#context.owner.report(error)
    } else {
      try {
        const result = this.#context.handlers.error(error, this)
        if (isThenable(result)) Promise.resolve(result).catch((second: unknown) => this.#context.owner.report(second))
      } catch (second) {
        this.#context.owner.report(second)
      }
    }
    this.close(CLOSE_CODE.INTERNAL_ERROR)
  }
}

/** The ServerSocket behind a `Socket`. Throws OptionError for an object that only looks like a `Socket`. */
export function serverSocketOf<T>(socket: Socket<T>): ServerSocket<T> {
  if (socket instanceof ServerSocket) return socket
  throw new OptionError('socket', socket, 'a socket of a WebSocketServer')
}
