/**
 * One WebSocket connection. The same object is what handlers see (`Socket`) and what an engine tells of events
 * (`ConnectionEvents`). The path from a message to its handler and from `send` to the engine runs for every message: it
 * allocates nothing.
 *
 * Long because each of the calls and events is here, in a few lines each: what they have to do is in the modules below.
 */
import type { Buffer } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { BufferWaiters } from './buffer-waiters.js'
import { bufferOver } from './bytes.js'
import type { ConnectionEvents, ConnectionId, EngineServer, Payload } from './engine/contract.js'
import { ClosedError } from './errors.js'
import { type Arrival, type Consumer, Intake, type IntakeSocket } from './intake.js'
import type { Member } from './members.js'
import { abandon, MessageStreams } from './message-streams.js'
import { checkCloseFrame, checkPingLength, checkTopic, toPayload } from './options/arguments.js'
import { checkBoolean, checkFunction } from './options/checks.js'
import { checkSource, type ResolvedRoute, resolveDrained, resolveStream } from './options/websocket.js'
import type { Subscriber, Subscriptions } from './subscriptions.js'
import { isThenable } from './thenable.js'
import {
  type Data,
  type DrainedOptions,
  SendStatus,
  type SendStreamOptions,
  type Socket,
  type WebSocketHandlers,
} from './types.js'

export type { Arrival, Consumer } from './intake.js'

const OPEN = 1
const CLOSING = 2
const CLOSED = 3

/** Bytes of a socket's id: 96 bits, so that neither chance nor a guess finds another's. */
const ID_BYTES = 12

/** What a socket's server does for it. */
export interface SocketOwner {
  /** Undefined where no handler asks for them. */
  readonly subscriptions: Subscriptions | undefined
  /** As EngineServer.publish, and to other processes. */
  publish(topic: string, payload: Payload, except: ConnectionId, compress: boolean | undefined): boolean
  /** A handler has thrown or rejected; `report` may follow. */
  failed(): void
  /** Takes what a handler threw, where the route has no `error` handler for it. */
  report(error: unknown): void
  /** The connection has ended, and its `close` handler is about to run. */
  ended(socket: ServerSocket<unknown>): void
}

/** What a socket owes to its handshake. */
export interface SocketOrigin<T> {
  readonly data: T
  /** Empty for none. */
  readonly protocol: string
  readonly remoteAddress: string
}

export class ServerSocket<T> implements Socket<T>, ConnectionEvents, Subscriber, IntakeSocket, Member {
  data: T
  readonly connectedAt = Date.now()
  readonly protocol: string
  readonly remoteAddress: string
  readonly #owner: SocketOwner
  readonly #engine: EngineServer
  readonly #handlers: WebSocketHandlers<T>
  readonly #route: ResolvedRoute
  #connection: ConnectionId = 0
  #place = 0
  #readyState: 1 | 2 | 3 = OPEN
  #id: string | undefined
  /** While messages do not go straight to their handler. */
  #intake: Intake | undefined
  #waiters: BufferWaiters | undefined
  #streams: MessageStreams | undefined

  constructor(
    owner: SocketOwner,
    engine: EngineServer,
    handlers: WebSocketHandlers<T>,
    route: ResolvedRoute,
    origin: SocketOrigin<T>,
  ) {
    this.#owner = owner
    this.#engine = engine
    this.#handlers = handlers
    this.#route = route
    this.data = origin.data
    this.protocol = origin.protocol
    this.remoteAddress = origin.remoteAddress
  }

  /** The handshake is done: from here on the engine knows this socket by its connection id. */
  opened(connection: ConnectionId): void {
    this.#connection = connection
    try {
      this.#watch(this.#handlers.open?.(this))
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Among the sockets of its server. */
  get place(): number {
    return this.#place
  }

  set place(place: number) {
    this.#place = place
  }

  get id(): string {
    this.#id ??= randomBytes(ID_BYTES).toString('base64url')
    return this.#id
  }

  get readyState(): 1 | 2 | 3 {
    return this.#readyState
  }

  get bufferedAmount(): number {
    return this.#readyState === CLOSED ? 0 : this.#engine.bufferedAmount(this.#connection)
  }

  get topics(): readonly string[] {
    return this.#readyState === OPEN ? this.#engine.topics(this.#connection) : []
  }

  send(data: Data, compress?: boolean): number {
    const payload = toPayload(data)
    if (compress !== undefined) checkBoolean('compress', compress)
    if (this.#readyState !== OPEN) return SendStatus.DROPPED
    const answer = this.#engine.send(this.#connection, payload, compress)
    if (answer === SendStatus.DROPPED) this.#refused(payload)
    return answer
  }

  async sendStream(source: AsyncIterable<Data>, options: SendStreamOptions = {}): Promise<void> {
    checkSource(source)
    const settings = resolveStream(options)
    if (this.#readyState !== OPEN || settings.signal?.aborted) {
      abandon(source)
      settings.signal?.throwIfAborted()
      throw new ClosedError('the socket is closed')
    }
    this.#streams ??= new MessageStreams({
      engine: this.#engine,
      connection: this.#connection,
      maxFragmentLength: this.#route.maxFragmentLength,
      fail: () => this.close(1011),
    })
    await this.#streams.send(source, settings)
  }

  async drained(options: DrainedOptions = {}): Promise<void> {
    const { threshold, signal } = resolveDrained(options)
    signal?.throwIfAborted()
    if (this.#readyState !== OPEN) throw new ClosedError('the socket is closed')
    this.#waiters ??= new BufferWaiters(this.#engine, this.#connection)
    await this.#waiters.wait(threshold, signal)
  }

  cork<R>(callback: (socket: this) => R): R {
    checkFunction('callback', callback)
    return this.#readyState === OPEN ? this.#engine.cork(this.#connection, () => callback(this)) : callback(this)
  }

  pause(): void {
    if (this.#readyState !== OPEN) return
    this.#intake ??= new Intake(this)
    this.#intake.pause()
  }

  resume(): void {
    this.#intake?.resume()
  }

  ping(data: Data = ''): number {
    const payload = toPayload(data)
    checkPingLength(payload)
    return this.#readyState === OPEN ? this.#engine.ping(this.#connection, payload) : SendStatus.DROPPED
  }

  close(code = 1000, reason = ''): void {
    checkCloseFrame(code, reason)
    if (this.#readyState !== OPEN) return
    this.#readyState = CLOSING
    this.#engine.close(this.#connection, code, reason)
    this.#closing()
  }

  terminate(): void {
    if (this.#readyState === CLOSED) return
    this.#readyState = CLOSING
    this.#engine.terminate(this.#connection)
    this.#closing()
  }

  subscribe(topic: string): boolean {
    checkTopic(topic)
    if (this.#readyState !== OPEN || !this.#engine.subscribe(this.#connection, topic)) return false
    this.#owner.subscriptions?.add(this, topic)
    return true
  }

  unsubscribe(topic: string): boolean {
    checkTopic(topic)
    if (this.#readyState !== OPEN || !this.#engine.unsubscribe(this.#connection, topic)) return false
    this.#owner.subscriptions?.remove(this, topic)
    return true
  }

  isSubscribed(topic: string): boolean {
    checkTopic(topic)
    return this.#readyState === OPEN && this.#engine.isSubscribed(this.#connection, topic)
  }

  publish(topic: string, data: Data, compress?: boolean): boolean {
    checkTopic(topic)
    const payload = toPayload(data)
    if (compress !== undefined) checkBoolean('compress', compress)
    return this.#readyState === OPEN && this.#owner.publish(topic, payload, this.#connection, compress)
  }

  onMessage(message: string | Buffer, isBinary: boolean): void {
    if (this.#readyState !== OPEN) return
    if (this.#intake === undefined) this.handleMessage(message, isBinary)
    else this.#intake.arrived({ kind: 'message', data: message, isBinary })
  }

  handleMessage(message: string | Buffer, isBinary: boolean): void {
    try {
      const result = this.#handlers.message?.(this, message, isBinary)
      if (result !== undefined) this.#watch(result)
    } catch (error) {
      this.#fail(error)
    }
  }

  onDrain(): void {
    if (this.#readyState !== OPEN) return
    try {
      this.#watch(this.#handlers.drain?.(this))
    } catch (error) {
      this.#fail(error)
    }
  }

  onBufferLow(): void {
    if (this.#readyState === OPEN) this.#waiters?.bufferIsLow()
  }

  onFragmentDrain(): void {
    if (this.#readyState === OPEN) this.#streams?.fragmentDrained()
  }

  onDropped(message: string | Buffer, isBinary: boolean): void {
    if (this.#readyState === CLOSED) return
    try {
      this.#watch(this.#handlers.dropped?.(this, message, isBinary))
    } catch (error) {
      this.#fail(error)
    }
    if (this.#route.closeOnBackpressureLimit) this.terminate()
  }

  onPing(data: Buffer): void {
    if (this.#readyState !== OPEN) return
    if (this.#intake === undefined) this.handlePing(data)
    else this.#intake.arrived({ kind: 'ping', data })
  }

  handlePing(data: Buffer): void {
    try {
      this.#watch(this.#handlers.ping?.(this, data))
    } catch (error) {
      this.#fail(error)
    }
  }

  onPong(data: Buffer): void {
    if (this.#readyState !== OPEN) return
    if (this.#intake === undefined) this.handlePong(data)
    else this.#intake.arrived({ kind: 'pong', data })
  }

  handlePong(data: Buffer): void {
    try {
      this.#watch(this.#handlers.pong?.(this, data))
    } catch (error) {
      this.#fail(error)
    }
  }

  onClose(code: number, reason: string): void {
    this.#intake?.flush()
    this.#readyState = CLOSED
    this.#closing()
    this.#intake?.ended(code, reason)
    this.#intake = undefined
    this.#owner.ended(this)
    try {
      this.#watch(this.#handlers.close?.(this, code, reason))
    } catch (error) {
      this.#fail(error)
    }
  }

  onSubscription(topic: string, subscribers: number, before: number): void {
    try {
      this.#watch(this.#handlers.subscription?.(this, topic, subscribers, before))
    } catch (error) {
      this.#fail(error)
    }
  }

  // ---- for adapters, and for the intake ----

  get isOpen(): boolean {
    return this.#readyState === OPEN
  }

  /** Bytes of a message that fits into an empty queue, even while a message is being sent in fragments. */
  get maxSafeMessage(): number {
    return Math.max(1, this.#route.maxBackpressure - this.#route.maxFragmentLength)
  }

  /** From now on the messages go to the consumer. Throws ERR_ATTACHED when another has them. */
  attach(consumer: Consumer): void {
    this.#intake ??= new Intake(this)
    this.#intake.attach(consumer)
  }

  /** The `message` handler gets the messages again, first the unused ones. */
  detach(consumer: Consumer, unused: readonly Arrival[]): void {
    this.#intake?.detach(consumer, unused)
  }

  stopReading(): void {
    this.#engine.pause(this.#connection)
  }

  startReading(): void {
    this.#engine.resume(this.#connection)
    if (this.#intake?.isIdle) this.#intake = undefined
  }

  /** Nothing is sent any more. */
  #closing(): void {
    this.#owner.subscriptions?.leave(this)
    this.#waiters?.end()
    this.#streams?.end()
  }

  /** `send` was answered with 0. */
  #refused(payload: Payload): void {
    if (!this.#route.reportDrops || !this.#engine.isOpen(this.#connection)) return
    const isBinary = typeof payload !== 'string'
    const message = isBinary ? bufferOver(payload) : payload
    // Not sooner: a handler that sends once more must not keep the event loop from everything else.
    setImmediate(() => this.onDropped(message, isBinary))
  }

  /** Waits for an asynchronous handler's failure. Its success is nobody's business. */
  #watch(result: unknown): void {
    if (!isThenable(result)) return
    Promise.resolve(result).catch((error: unknown) => this.#fail(error))
  }

  #fail(error: unknown): void {
    this.#owner.failed()
    if (this.#handlers.error === undefined) {
      this.#owner.report(error)
    } else {
      try {
        // Typed as void, but nothing keeps a user from an async function.
        const result: unknown = this.#handlers.error(error, this)
        if (isThenable(result)) Promise.resolve(result).catch((second: unknown) => this.#owner.report(second))
      } catch (second) {
        this.#owner.report(second)
      }
    }
    this.close(1011)
  }
}
