/**
 * `WebSocket` of the `ws` package, as servers see it.
 *
 * Long because each member of that class is here, in a few lines each; events, callbacks, options and the
 * request are files of their own.
 */
import { Buffer } from 'node:buffer'
import { EventEmitter } from 'node:events'
import process from 'node:process'
import { type Socket as EngineSocket, NotSupportedError } from '../../index.js'
import { CLOSE_CODE, SENDABLE_CLOSE_CODES } from '../../websocket/close-codes.js'
import { type SendCallback, SendCallbacks } from './callbacks.js'
import {
  type CloseEvent,
  type ErrorEvent,
  EVENTS,
  type Event,
  type EventListener,
  type EventName,
  type MessageEvent,
  type WebSocketEventMap,
} from './events.js'
import { type ConnectionFacts, SocketStandIn } from './stand-in.js'

/** What a listener for `message` gets. */
export type RawData = Buffer | ArrayBuffer | Buffer[]
export type BinaryType = 'nodebuffer' | 'arraybuffer' | 'fragments'

export interface SendOptions {
  /** Without effect, as on every server: servers do not mask. */
  mask?: boolean | undefined
  /** Default: strings are text, anything else is binary. */
  binary?: boolean | undefined
  /** `false` does not compress; else the threshold decides. */
  compress?: boolean | undefined
  /** `false`: a part of a message, kept until its last part. Default true. */
  fin?: boolean | undefined
}

/** Gets an error, or nothing: `@types/ws` does not say so. */
type PingCallback = (error: Error) => void

/** Events and their arguments. */
interface Events {
  open: []
  message: [data: RawData, isBinary: boolean]
  ping: [data: Buffer]
  pong: [data: Buffer]
  close: [code: number, reason: Buffer]
  error: [error: Error]
}

const [OPEN, CLOSING, CLOSED] = [1, 2, 3] as const
const STATES = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'] as const
const BINARY_TYPES: readonly unknown[] = ['nodebuffer', 'arraybuffer', 'fragments', 'blob']

/**
 * Bytes of a message up to which an engine may hold it until the end of the turn, to write it together with
 * others. Of a longer message, `bufferedAmount` is what the kernel had no room for.
 */
const MAX_GATHERED = 16 * 1024

/** Only `socketFor` makes a WebSocket. */
const kSocket = Symbol('socket')

/** What a server gives to each of its sockets. */
export interface Made {
  readonly connection: EngineSocket<unknown>
  /** The socket of the handshake's request. */
  readonly facts: ConnectionFacts
  /** Milliseconds; undefined where the engine's time for a closing handshake will do. */
  readonly closeTimeout: number | undefined
  /** How many Pongs may wait behind bytes that the client does not read; Infinity where there is no limit. */
  readonly maxPendingAutoPongs: number
}

/** A message whose last part is still to come. */
interface Parts {
  readonly binary: boolean
  readonly compress: boolean | undefined
  readonly bytes: Uint8Array[]
}

/** What the server of a socket tells it. */
interface SocketEvents {
  message(socket: WebSocket, data: Buffer, isBinary: boolean): void
  ping(socket: WebSocket, data: Buffer): void
  pong(socket: WebSocket, data: Buffer): void
  drained(socket: WebSocket): void
  dropped(socket: WebSocket): void
  /**
   * `wasClean` as the `close` handler has it. `beforeClose` is called before `close` is emitted, both after
   * this has returned.
   */
  closed(socket: WebSocket, code: number, reason: string, wasClean: boolean, beforeClose: () => void): void
  /** Has `listener` called when everything is written and the connection has ended, a tick before `close`. */
  onceEnded(socket: WebSocket, listener: () => void): void
}

/** Set by the class, whose private members it reaches. */
export let socketEvents: SocketEvents

interface Listening {
  readonly type: EventName
  readonly listener: unknown
  readonly wrapper: (...emitted: unknown[]) => void
}

/** What servers of this face give to their `connection` listeners. */
export class WebSocket extends EventEmitter<Events> {
  declare static readonly CONNECTING: 0
  declare static readonly OPEN: 1
  declare static readonly CLOSING: 2
  declare static readonly CLOSED: 3
  declare readonly CONNECTING: 0
  declare readonly OPEN: 1
  declare readonly CLOSING: 2
  declare readonly CLOSED: 3

  readonly #socket: EngineSocket<unknown>
  readonly #callbacks: SendCallbacks
  /** Called before `close` is emitted. */
  #endings: (() => void)[] = []
  readonly #listening: Listening[] = []
  /** What was assigned to `onmessage` and the like. */
  readonly #handlers = new Map<EventName, (event: never) => void>()
  readonly #made: Made
  #standIn: SocketStandIn | undefined
  /** As in `ws`. Null without the option `closeTimeout`: the engine has its own. */
  _closeTimer: NodeJS.Timeout | null = null
  #parts: Parts | undefined
  #pendingPongs = 0
  #binaryType: BinaryType | 'blob' = 'nodebuffer'
  #isPaused = false
  /** Bytes of messages sent after the close, which `ws` counts. */
  #unsent = 0
  /** What waits behind a Blob that is being read, in order; undefined where nothing does. */
  #deferred: (() => void)[] | undefined

  /** Throws NotSupportedError: only servers make one. */
  constructor(address: unknown, _protocols?: unknown, _options?: unknown) {
    if (!(typeof address === 'object' && address !== null && kSocket in address)) {
      throw new NotSupportedError(
        'new WebSocket(url)',
        'this is a server: clients are the `ws` package’s, or the global WebSocket',
      )
    }
    super()
    // Only socketFor makes an object with this member.
    this.#made = address[kSocket] as Made
    this.#socket = this.#made.connection
    this.#callbacks = new SendCallbacks(this.#socket)
  }

  /** `blob`, too, which `@types/ws` does not know. */
  get binaryType(): BinaryType {
    return this.#binaryType as BinaryType
  }

  /** Other values are ignored, as `ws` does. */
  set binaryType(type: BinaryType) {
    if (BINARY_TYPES.includes(type)) this.#binaryType = type
  }

  /** In place of what `ws` has here, and documents nowhere. */
  get _socket(): SocketStandIn {
    this.#standIn ??= this.#makeStandIn()
    return this.#standIn
  }

  /** Throws NotSupportedError. `_sender` is undefined, which socket.io asks for. */
  get _receiver(): never {
    throw new NotSupportedError('WebSocket._receiver', 'give the server the limits: maxPayload, autoPong, perMessageDeflate')
  }

  /** Throws NotSupportedError: `ws` has it for itself. */
  setSocket(): never {
    throw new NotSupportedError('WebSocket.setSocket', 'the server opens its sockets: use `handleUpgrade`')
  }

  /** Throws NotSupportedError: `ws` has it for itself. */
  emitClose(): never {
    throw new NotSupportedError('WebSocket.emitClose', 'call `terminate`, or emit what your listeners wait for')
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount + this.#unsent
  }

  /** The names of the extensions. */
  get extensions(): string {
    return this.#socket.extensions.replace(/;.*/, '')
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  get protocol(): string {
    return this.#socket.protocol
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.#socket.readyState
  }

  /** Only clients know it. */
  get url(): string {
    return ''
  }

  get onopen(): ((event: Event) => void) | null {
    return this.#handler('open')
  }
  set onopen(handler: ((event: Event) => void) | null) {
    this.#handle('open', handler)
  }
  get onmessage(): ((event: MessageEvent) => void) | null {
    return this.#handler('message')
  }
  set onmessage(handler: ((event: MessageEvent) => void) | null) {
    this.#handle('message', handler)
  }
  get onclose(): ((event: CloseEvent) => void) | null {
    return this.#handler('close')
  }
  set onclose(handler: ((event: CloseEvent) => void) | null) {
    this.#handle('close', handler)
  }
  get onerror(): ((event: ErrorEvent) => void) | null {
    return this.#handler('error')
  }
  set onerror(handler: ((event: ErrorEvent) => void) | null) {
    this.#handle('error', handler)
  }

  /** Throws TypeError or RangeError, as `ws` does, for a code or reason that cannot be sent. */
  close(code?: number, data?: string | Buffer): void {
    if (this.readyState !== OPEN) return
    const reason = data === undefined ? '' : data.toString()
    if (Buffer.byteLength(reason) > 123) throw new RangeError('The message must not be greater than 123 bytes')
    if (code !== undefined && !isCloseCode(code)) throw new TypeError('First argument must be a valid error code number')
    if (this.#deferred !== undefined) {
      this.#deferred.push(() => this.close(code, reason))
      return
    }
    if (this.#callbacks.areWaiting) this.#settleWritten()
    // A reason without a code is not sent.
    if (code === undefined) this.#socket.close()
    else this.#socket.close(code, reason)
    const { closeTimeout } = this.#made
    if (closeTimeout !== undefined) this._closeTimer = setTimeout(() => this.terminate(), closeTimeout)
  }

  ping(data?: unknown, mask?: boolean | PingCallback, callback?: PingCallback): void {
    this.#sendControl('ping', data, mask, callback)
  }

  pong(data?: unknown, mask?: boolean | PingCallback, callback?: PingCallback): void {
    this.#sendControl('pong', data, mask, callback)
  }

  /** `callback` is called when the message was given to the kernel, or with an error. */
  send(data: unknown, options?: SendOptions | SendCallback, callback?: SendCallback): void {
    const done = typeof options === 'function' ? options : callback
    const { binary, compress, fin } = typeof options === 'function' ? {} : (options ?? {})
    if ((fin === false || this.#parts !== undefined) && this.readyState === OPEN) {
      this.#sendPart(data, fin === false, { binary, compress }, done)
      return
    }
    if (this.#deferred !== undefined && this.readyState === OPEN) {
      // What is wrong is thrown here rather than when the Blob has been read.
      const given = data instanceof Blob ? data : payloadOf(data)
      this.#deferred.push(() => this.send(given, typeof options === 'function' ? undefined : options, done))
      return
    }
    if (data instanceof Blob && this.readyState === OPEN) {
      void this.#sendBlob(data, { ...(binary === false && { binary }), ...(compress === false && { compress }) }, done)
      return
    }
    const payload = data instanceof Blob ? new Uint8Array(data.size) : payloadOf(data)
    if (this.readyState !== OPEN) {
      this.#refuse(payload, done)
      return
    }
    // `ws` does not check the text that it sends.
    const own = {
      ...(binary !== undefined && { binary: Boolean(binary), isUtf8: true }),
      ...(compress === false && { compress }),
    }
    this.#settle(this.#socket.send(payload, own), done)
  }

  /** Keeps a part of a message; with the last one, sends the message. */
  #sendPart(data: unknown, isMore: boolean, { binary, compress }: SendOptions, done: SendCallback | undefined): void {
    if (data instanceof Blob) throw new NotSupportedError('send of a Blob with fin: false', 'send its arrayBuffer')
    const payload = payloadOf(data)
    this.#parts ??= { binary: binary ?? typeof payload !== 'string', compress, bytes: [] }
    // A copy: the program may go on to use the memory.
    this.#parts.bytes.push(Buffer.from(payload))
    if (isMore) {
      if (done !== undefined) process.nextTick(done)
      return
    }
    const { bytes, ...options } = this.#parts
    this.#parts = undefined
    this.send(Buffer.concat(bytes), options, done)
  }

  #makeStandIn(): SocketStandIn {
    const standIn = new SocketStandIn(this, this.#socket, this.#made.facts)
    if (this.readyState === CLOSED) standIn.destroy()
    return standIn
  }

  terminate(): void {
    // What was taken in this turn may not have been written.
    this.#callbacks.cut()
    this.#socket.terminate()
  }

  pause(): void {
    if (this.readyState === CLOSED) return
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    if (this.readyState === CLOSED) return
    this.#isPaused = false
    this.#socket.resume()
  }

  addEventListener<K extends EventName>(type: K, listener: EventListener<K>, options: { once?: boolean | undefined } = {}): void {
    if (!Object.hasOwn(EVENTS, type)) return
    const isKnown = this.#listening.some((known) => known.type === type && known.listener === listener)
    if (!isKnown) this.#listen(type, listener, options.once === true)
  }

  removeEventListener<K extends EventName>(type: K, listener: EventListener<K>): void {
    const index = this.#listening.findIndex((known) => known.type === type && known.listener === listener)
    const [removed] = index === -1 ? [] : this.#listening.splice(index, 1)
    if (removed !== undefined) (this as EventEmitter).off(type, removed.wrapper)
  }

  static {
    socketEvents = {
      message: (socket, data, isBinary) => socket.#tell('message', isBinary ? socket.#inBinaryType(data) : data, isBinary),
      ping: (socket, data) => {
        if (socket.#isFlooded()) socket.terminate()
        socket.#tell('ping', data)
      },
      pong: (socket, data) => socket.#tell('pong', data),
      drained: (socket) => {
        // Listeners of this turn may have sent since the queue was empty.
        if (socket.#socket.bufferedAmount === 0 || socket.readyState !== OPEN) socket.#callbacks.drained()
        socket.#pendingPongs = 0
        socket.#standIn?.emit('drain')
      },
      // No message is dropped in silence: `ws` would have kept it.
      dropped: (socket) => socket.#overflow(),
      closed(socket, code, reason, wasClean, beforeClose) {
        // As in `ws`: `close` has no code but the client's; an error that is found here is an `error`.
        const end = wasClean
          ? () => socket.#end(code, Buffer.from(reason), undefined, beforeClose)
          : () => socket.#end(CLOSE_CODE.ABNORMAL_CLOSURE, Buffer.alloc(0), protocolErrorOf(code), beforeClose)
        // In this turn `drained` may have said of what waits that it was written.
        if (socket.#callbacks.areWaiting) setImmediate(end)
        else end()
      },
      onceEnded: (socket, listener) => void socket.#endings.push(listener),
    }
  }

  #sendControl(kind: 'ping' | 'pong', data: unknown, mask?: boolean | PingCallback, callback?: PingCallback): void {
    const done = typeof data === 'function' ? data : typeof mask === 'function' ? mask : callback
    const payload = typeof data === 'function' ? '' : payloadOf(data ?? '')
    if (this.readyState !== OPEN) {
      // The cast: a function in this place is the callback.
      this.#refuse(payload, done as SendCallback | undefined)
      return
    }
    if (sizeOf(payload) > 125) throw new RangeError('The data size must not be greater than 125 bytes')
    if (this.#deferred !== undefined)
      this.#deferred.push(() => this.#sendControl(kind, payload, done as PingCallback | undefined))
    else this.#settle(this.#socket[kind](payload), done as SendCallback | undefined)
  }

  /** As in `ws`, callbacks come before `close`. */
  #end(code: number, reason: Buffer, error: Error | undefined, beforeClose: () => void): void {
    if (this._closeTimer !== null) clearTimeout(this._closeTimer)
    this.#callbacks.failed()
    for (const listener of this.#endings.splice(0)) listener()
    process.nextTick(() => {
      beforeClose()
      // Without a listener, it would end the process.
      if (error !== undefined && this.listenerCount('error') > 0) this.#tell('error', error)
      this.#tell('close', code, reason)
      this.#standIn?.destroy()
    })
  }

  /** Calls back for messages that are written, of which the engine has not told yet. */
  #settleWritten(): void {
    // Has the engine write what it holds.
    void this.#socket.drained().catch(() => {})
    if (this.#socket.bufferedAmount === 0) this.#callbacks.drained()
  }

  #tell<K extends keyof Events>(event: K, ...emitted: Events[K]): void {
    try {
      // The types of Node cannot say that the arguments are those of the event.
      ;(this as EventEmitter).emit(event, ...emitted)
    } catch (error) {
      // As with `ws`, what a listener throws is an uncaught exception.
      process.nextTick(() => {
        throw error
      })
    }
  }

  /** Later calls wait until the Blob has been read. One that cannot be read is an error of the connection. */
  async #sendBlob(blob: Blob, options: SendOptions, done: SendCallback | undefined): Promise<void> {
    const deferred: (() => void)[] = []
    this.#deferred = deferred
    let bytes: ArrayBuffer
    try {
      bytes = await blob.arrayBuffer()
    } catch (error) {
      this.#deferred = undefined
      const reason = error instanceof Error ? error : new Error(String(error))
      if (done !== undefined) process.nextTick(done, reason)
      if (this.readyState !== CLOSED) this.#tell('error', reason)
      this.terminate()
      // They call back with an error.
      for (const call of deferred) call()
      return
    }
    this.#deferred = undefined
    this.send(bytes, options, done)
    while (deferred.length > 0 && this.#deferred === undefined) deferred.shift()?.()
    // One of them has sent another Blob: the rest comes before what waits for that one.
    if (deferred.length > 0) (this.#deferred as (() => void)[] | undefined)?.unshift(...deferred)
  }

  /** With one more Ping, whether too many Pongs wait for a client that does not read them. */
  #isFlooded(): boolean {
    const waits = this.readyState === OPEN && this.#socket.bufferedAmount > MAX_GATHERED
    this.#pendingPongs = waits ? this.#pendingPongs + 1 : 0
    return this.#pendingPongs > this.#made.maxPendingAutoPongs
  }

  #overflow(): void {
    this.#tell('error', new RangeError('More than 2^31-1 bytes wait for the client'))
    this.terminate()
  }

  #inBinaryType(data: Buffer): RawData {
    if (this.#binaryType === 'arraybuffer') return new Uint8Array(data).buffer
    // Programs that ask for Blobs know that they get them: `@types/ws` does not.
    if (this.#binaryType === 'blob') return new Blob([data as Buffer<ArrayBuffer>]) as unknown as RawData
    return this.#binaryType === 'fragments' ? [data] : data
  }

  #settle(status: number, callback: SendCallback | undefined): void {
    if (callback === undefined) return
    if (status === 0) process.nextTick(callback, notOpen(CLOSING))
    else this.#callbacks.taken(callback, status === -1 || (status > MAX_GATHERED && this.#socket.bufferedAmount > 0))
  }

  /** As `ws` does after the close. */
  #refuse(payload: string | Uint8Array, callback: SendCallback | undefined): void {
    this.#unsent += sizeOf(payload)
    if (callback === undefined) return
    process.nextTick(callback, notOpen(this.readyState))
  }

  #listen<K extends EventName>(type: K, listener: EventListener<K>, once: boolean): void {
    const wrapper = (...emitted: unknown[]) => {
      if (once) this.removeEventListener(type, listener)
      // The arguments are those that this event is emitted with.
      const event = EVENTS[type](this, ...(emitted as never[]))
      if (typeof listener === 'function') listener.call(this, event)
      else listener.handleEvent(event)
    }
    this.#listening.push({ type, listener, wrapper })
    ;(this as EventEmitter).on(type, wrapper)
  }

  #handler<K extends EventName>(type: K): ((event: WebSocketEventMap[K]) => void) | null {
    // What #handle has stored for this event takes this event.
    return (this.#handlers.get(type) as ((event: WebSocketEventMap[K]) => void) | undefined) ?? null
  }

  #handle<K extends EventName>(type: K, handler: ((event: WebSocketEventMap[K]) => void) | null): void {
    const before = this.#handler(type)
    if (before !== null) this.removeEventListener(type, before)
    this.#handlers.delete(type)
    if (typeof handler !== 'function') return
    this.#handlers.set(type, handler)
    this.#listen(type, handler, false)
  }
}

/** With the texts of `ws`; undefined for a connection that has ended without a Close frame. */
function protocolErrorOf(closeCode: number): Error | undefined {
  if (closeCode === CLOSE_CODE.ABNORMAL_CLOSURE) return undefined
  if (closeCode === CLOSE_CODE.MESSAGE_TOO_BIG) {
    return Object.assign(new RangeError('Max payload size exceeded'), { code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' })
  }
  if (closeCode === CLOSE_CODE.INVALID_PAYLOAD) {
    return Object.assign(new Error('Invalid WebSocket frame: invalid UTF-8 sequence'), { code: 'WS_ERR_INVALID_UTF8' })
  }
  // The engine does not say what is wrong with the frame.
  return new RangeError('Invalid WebSocket frame')
}

/** With the text of `ws`. */
function notOpen(state: 0 | 1 | 2 | 3): Error {
  return new Error(`WebSocket is not open: readyState ${state} (${STATES[state]})`)
}

/** Of the class that is given, or of this one, which is what T is then. */
export function socketFor<T extends typeof WebSocket>(made: Made, Class: T | undefined): InstanceType<T> {
  // TypeScript does not see that an object made by a T is an instance of T.
  return new (Class ?? WebSocket)({ [kSocket]: made }) as InstanceType<T>
}

// As in `ws`, and as the interface of browsers has it: what there is shows.
const MEMBERS = 'binaryType bufferedAmount extensions isPaused onclose onerror onmessage onopen protocol readyState url'
for (const name of MEMBERS.split(' ')) Object.defineProperty(WebSocket.prototype, name, { enumerable: true })
STATES.forEach((name, value) => {
  const constant = { value, enumerable: true, configurable: false, writable: false }
  Object.defineProperty(WebSocket, name, constant)
  Object.defineProperty(WebSocket.prototype, name, constant)
})

/**
 * What `ws` takes: strings, bytes, numbers as text, nothing as no bytes, and anything that Buffer.from can
 * make bytes of.
 */
function payloadOf(data: unknown): string | Uint8Array {
  if (typeof data === 'string') return data
  if (data === undefined || data === null || data === false) return Buffer.alloc(0)
  if (typeof data === 'number') return String(data)
  if (data instanceof Uint8Array) return data
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) return new Uint8Array(data)
  // Throws TypeError, as `ws` does, for what is no bytes at all.
  return Buffer.from(data as readonly number[])
}

function isCloseCode(code: unknown): boolean {
  return typeof code === 'number' && SENDABLE_CLOSE_CODES.some(([first, last]) => code >= first && code <= last)
}

function sizeOf(payload: string | Uint8Array): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength
}
