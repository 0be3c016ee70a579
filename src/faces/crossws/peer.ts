/** A connection as crossws gives it to its hooks. */
import { randomUUID } from 'node:crypto'
import { ClosedError, type Data, type Socket, type UpgradeRequest } from '../../index.js'

/** What a connection carries from its handshake on. */
export interface Carried {
  readonly request: UpgradeRequest
  readonly namespace: string
  readonly context: Record<string, unknown>
  /** From `open` on. */
  peer: Peer | undefined
}

export interface PeerSendOptions {
  compress?: boolean | undefined
}

export interface WaitForDrainOptions {
  /** Bytes. Default 0. */
  threshold?: number
  /** Without effect: the engine tells when the bytes have left. */
  pollInterval?: number
  signal?: AbortSignal
}

/** The part of the WHATWG WebSocket interface that a server knows. */
export interface PeerWebSocket {
  readonly readyState: 1 | 2 | 3
  /** What was agreed on, or, as with crossws, what the client has asked for. */
  readonly protocol: string
  /** As `protocol`. */
  readonly extensions: string
  readonly url: string
  readonly bufferedAmount: number
  readonly binaryType: 'nodebuffer'
}

const OPEN = 1

export class Peer {
  readonly #socket: Socket<Carried>
  readonly #peers: Set<Peer>
  readonly #topics = new Set<string>()
  #id: string | undefined

  constructor(socket: Socket<Carried>, peers: Set<Peer>) {
    this.#socket = socket
    this.#peers = peers
  }

  /** A UUID. */
  get id(): string {
    this.#id ??= randomUUID()
    return this.#id
  }

  get namespace(): string {
    return this.#socket.data.namespace
  }

  get context(): Record<string, unknown> {
    return this.#socket.data.context
  }

  get request(): UpgradeRequest {
    return this.#socket.data.request
  }

  /** Undefined on a unix socket. */
  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress || undefined
  }

  /** Those of the same namespace. */
  get peers(): Set<Peer> {
    return this.#peers
  }

  get topics(): Set<string> {
    return this.#topics
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  get websocket(): PeerWebSocket {
    const socket = this.#socket
    const { headers, url } = this.request
    return {
      get readyState() {
        return socket.readyState
      },
      get bufferedAmount() {
        return socket.bufferedAmount
      },
      protocol: socket.protocol || (headers.get('sec-websocket-protocol') ?? ''),
      extensions: socket.extensions || (headers.get('sec-websocket-extensions') ?? ''),
      url: url.replace(/^http/, 'ws'),
      binaryType: 'nodebuffer',
    }
  }

  /** Resolves also when the connection ends; rejects with the signal's reason. */
  async waitForDrain({ threshold = 0, signal }: WaitForDrainOptions = {}): Promise<void> {
    if (this.bufferedAmount <= threshold || this.#socket.readyState !== OPEN) return
    try {
      await this.#socket.drained({ threshold, ...(signal && { signal }) })
    } catch (error) {
      if (!(error instanceof ClosedError)) throw error
    }
  }

  /** Returns what `Socket.send` returns. */
  send(data: unknown, { compress }: PeerSendOptions = {}): number {
    return this.#socket.send(dataOf(data), compress)
  }

  /** Returns what `Socket.ping` returns. */
  ping(data?: unknown): number {
    return this.#socket.ping(dataOf(data))
  }

  subscribe(topic: string): void {
    if (this.#socket.subscribe(topicOf(this.namespace, topic))) this.#topics.add(topic)
  }

  unsubscribe(topic: string): void {
    this.#topics.delete(topic)
    this.#socket.unsubscribe(topicOf(this.namespace, topic))
  }

  /** To the topic's other subscribers in the same namespace, behind the server's backplane too. */
  publish(topic: string, data: unknown, { compress }: PeerSendOptions = {}): void {
    this.#socket.publish(topicOf(this.namespace, topic), dataOf(data), compress)
  }

  close(code?: number, reason?: string): void {
    this.#socket.close(code, reason)
  }

  terminate(): void {
    this.#socket.terminate()
  }

  toString(): string {
    return this.id
  }

  [Symbol.toPrimitive](): string {
    return this.id
  }
}

/** A topic of the server's: its length tells where the namespace ends. */
export function topicOf(namespace: string, topic: string): string {
  return `${namespace.length}:${namespace}${topic}`
}

/** Strings and bytes as they are; nothing as an empty text; anything else as text, objects as JSON. */
export function dataOf(value: unknown): Data {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return value
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
