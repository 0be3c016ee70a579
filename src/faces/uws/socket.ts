/** `WebSocket` of uWebSockets.js. */
import { Buffer } from 'node:buffer'
import type { SendOptions, Socket } from '../../index.js'
import { addressBytes, addressText, arrayBufferOf, bufferOf, type RecognizedString, textOf } from './strings.js'
import { throwLater } from './uncaught.js'

/** Results of `send` and `ping`. */
const SENT = 1
const WAITS = 0
const DROPPED = 2

const CLOSED = 'the WebSocket is closed, and cannot be used any more'

/** The options of `send` by `isBinary` and `compress`. */
const OPTIONS = [
  [
    { binary: false, isUtf8: true, compress: false },
    { binary: false, isUtf8: true, compress: true },
  ],
  [
    { binary: true, compress: false },
    { binary: true, compress: true },
  ],
] as const satisfies readonly (readonly SendOptions[])[]

/** As uWebSockets.js sends: nothing is compressed unless the call says so, and text is not checked. */
export function sendOptionsOf(isBinary: boolean, compress: boolean): SendOptions {
  return OPTIONS[isBinary ? 1 : 0][compress ? 1 : 0]
}

/** A message whose last fragment is still to come. */
interface Fragmented {
  readonly isBinary: boolean
  readonly compress: boolean
  fragments: Uint8Array[]
  /** Bytes. */
  length: number
  isDropped: boolean
}

/**
 * Bytes, or UTF-16 units, up to which the native engine keeps a message until the turn ends
 * (`MAX_COPIED_MESSAGE` of its channel): whether a part of it waits is not known before.
 */
const LONGEST_KEPT = 4096

type MessageHandler = (socket: WebSocket<unknown>, message: ArrayBuffer, isBinary: boolean) => unknown

/** The message whose handler runs, and the engine's view of it, which is what `send` needs of it. */
let received: ArrayBuffer | undefined
let receivedBytes: Buffer | undefined

/** What the module of the face does with its sockets. */
export interface SocketControl {
  /** Calls the handler of `message`, as `callHandler` does. */
  message(handler: MessageHandler, socket: WebSocket<unknown>, bytes: Buffer, isBinary: boolean): void
  /** As `close`. False when the socket was closed before. */
  cut(socket: WebSocket<unknown>): boolean
  /** The connection has ended. False when `end` or `close` has told its handler already. */
  ended(socket: WebSocket<unknown>): boolean
}

export let socketControl: SocketControl

/**
 * Carries the members of the user data as its own, as in uWebSockets.js. From its `close` handler on, every
 * method but `getUserData` throws.
 */
export class WebSocket<UserData> {
  #socket: Socket<unknown> | undefined
  /** Whether addresses of IPv4 are told as IPv6. */
  readonly #isMapped: boolean
  /** Of a message whose last fragment is still to come. */
  #fragmented: Fragmented | undefined
  /** Bytes. */
  readonly #maxBackpressure: number
  readonly #onEnd: (code: number, reason: string) => void

  /**
   * `onEnd` is called by `end` and `close`, before they return. `maxBackpressure` is that of the route, in
   * bytes.
   */
  constructor(
    socket: Socket<unknown>,
    { isMapped, maxBackpressure }: { readonly isMapped: boolean; readonly maxBackpressure: number },
    userData: object | undefined,
    onEnd: (code: number, reason: string) => void,
  ) {
    this.#socket = socket
    this.#isMapped = isMapped
    this.#maxBackpressure = maxBackpressure
    this.#onEnd = onEnd
    Object.assign(this, userData)
  }

  get #open(): Socket<unknown> {
    if (this.#socket === undefined) throw new Error(CLOSED)
    return this.#socket
  }

  /** 1: sent, 0: it waits, or a part of it, 2: dropped, since more than `maxBackpressure` would wait. */
  send(message: RecognizedString, isBinary = false, compress = false): number {
    const socket = this.#open
    const data = message === received && receivedBytes !== undefined ? receivedBytes : message
    // What needs no options is sent without, which is quicker.
    const isPlain = !compress && socket.extensions === '' && isBinary === (typeof data !== 'string')
    const status = statusOf(isPlain ? socket.send(data) : socket.send(data, sendOptionsOf(isBinary, compress)))
    const length = typeof data === 'string' ? data.length : data.byteLength
    return status === SENT && length > LONGEST_KEPT && socket.bufferedAmount > 0 ? WAITS : status
  }

  getBufferedAmount(): number {
    return this.#open.bufferedAmount
  }

  /** Starts the closing handshake, and calls the `close` handler at once, with 0 where there is no code. */
  end(code = 0, shortMessage: RecognizedString = ''): void {
    const socket = this.#open
    const reason = textOf(shortMessage)
    // As uWebSockets.js, which sends no code that must not be sent, and no message without a code.
    const isSent = code !== 0 && code !== 1005 && code !== 1006
    if (isSent) socket.close(code, reason)
    else socket.close()
    this.#socket = undefined
    this.#onEnd(code, reason)
  }

  /** Cuts the connection, and calls the `close` handler at once. */
  close(): void {
    void this.#open
    socketControl.cut(this)
  }

  ping(message: RecognizedString = ''): number {
    return statusOf(this.#open.ping(message))
  }

  /** Whether it is subscribed now. */
  subscribe(topic: RecognizedString): boolean {
    this.#open.subscribe(textOf(topic))
    return this.#open.isSubscribed(textOf(topic))
  }

  unsubscribe(topic: RecognizedString): boolean {
    return this.#open.unsubscribe(textOf(topic))
  }

  isSubscribed(topic: RecognizedString): boolean {
    return this.#open.isSubscribed(textOf(topic))
  }

  getTopics(): string[] {
    return [...this.#open.topics]
  }

  /** To the topic's other subscribers. */
  publish(topic: RecognizedString, message: RecognizedString, isBinary = false, compress = false): boolean {
    return this.#open.publish(textOf(topic), message, sendOptionsOf(isBinary, compress))
  }

  cork(callback: () => void): this {
    this.#open.cork(() => callback())
    return this
  }

  /** 4 or 16 bytes; none on a unix socket. */
  getRemoteAddress(): ArrayBuffer {
    return addressBytes(this.#open.remoteAddress, this.#isMapped)
  }

  /** As that of HttpResponse. */
  getRemoteAddressAsText(): ArrayBuffer {
    return addressText(this.#open.remoteAddress, this.#isMapped)
  }

  getRemotePort(): number {
    return this.#open.remotePort
  }

  /** This object, which carries the user data. */
  getUserData(): UserData {
    // The constructor has given it the members of the user data.
    return this as unknown as UserData
  }

  /** Keeps the fragment: the message leaves with its last one. Returns what `sendFragment` returns. */
  sendFirstFragment(message: RecognizedString, isBinary = false, compress = false): number {
    this.#fragmented = { isBinary, compress, fragments: [], length: 0, isDropped: false }
    return this.#keep(message)
  }

  /**
   * Keeps the fragment. Without a first one it has no effect. 1: kept, 0: kept, and earlier bytes wait, 2:
   * with what waits it would be more than `maxBackpressure`, and the whole message is dropped.
   */
  sendFragment(message: RecognizedString, _compress = false): number {
    return this.#keep(message)
  }

  /** Sends the message. Without a first fragment, this is a text message of its own. */
  sendLastFragment(message: RecognizedString, compress = false): number {
    void this.#open
    const { fragments = [], isBinary = false, compress: compressed = compress, isDropped = false } = this.#fragmented ?? {}
    this.#fragmented = undefined
    return isDropped ? DROPPED : this.send(Buffer.concat([...fragments, bufferOf(message)]), isBinary, compressed)
  }

  /** As the engine, which takes a message of any length where nothing waits for the client. */
  #keep(message: RecognizedString): number {
    const waiting = this.#open.bufferedAmount
    const kept = this.#fragmented
    if (kept?.isDropped) return DROPPED
    if (kept !== undefined) {
      kept.length += bufferOf(message).byteLength
      kept.isDropped = waiting > 0 && waiting + kept.length > this.#maxBackpressure
      if (kept.isDropped) {
        kept.fragments = []
        return DROPPED
      }
      kept.fragments.push(copyOf(message))
    }
    return waiting > 0 ? WAITS : SENT
  }

  static {
    socketControl = {
      message(handler, socket, bytes, isBinary) {
        received = arrayBufferOf(bytes)
        receivedBytes = received === bytes.buffer ? bytes : undefined
        try {
          handler(socket, received, isBinary)
        } catch (error) {
          throwLater(error)
        }
        received = undefined
        receivedBytes = undefined
      },
      cut(socket) {
        const connection = socket.#socket
        if (connection === undefined) return false
        connection.terminate()
        socket.#socket = undefined
        socket.#onEnd(1006, '')
        return true
      },
      ended(socket) {
        const wasOpen = socket.#socket !== undefined
        socket.#socket = undefined
        return wasOpen
      },
    }
  }
}

function statusOf(status: number): number {
  return status > 0 ? SENT : status < 0 ? WAITS : DROPPED
}

/** The program may go on to use the memory. */
function copyOf(message: RecognizedString): Uint8Array {
  return Uint8Array.from(bufferOf(message))
}
