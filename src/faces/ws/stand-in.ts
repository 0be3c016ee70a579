/** What programs use the private `_socket` of `ws` for, of a connection whose bytes are the engine's. */
import { Socket as NetSocket } from 'node:net'
import { type Socket as EngineSocket, NotSupportedError } from '../../index.js'
import { warn } from '../warning.js'

/** What the socket of `node:http` tells, which may have been destroyed by then. */
export interface ConnectionFacts {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  readonly remoteFamily?: string | undefined
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  /** As in `node:tls`. */
  readonly encrypted?: boolean | undefined
}

interface Owner {
  readonly isPaused: boolean
  pause(): void
  resume(): void
  terminate(): void
}

/**
 * Knows the addresses, pauses, resumes and cuts the connection, and emits `drain` and `close`. Writing throws
 * NotSupportedError, and so do `setNoDelay(false)` and `unref`; `setKeepAlive(true)` is a process warning.
 */
export class SocketStandIn extends NetSocket {
  readonly encrypted: boolean
  readonly #owner: Owner
  readonly #connection: EngineSocket<unknown>

  constructor(owner: Owner, connection: EngineSocket<unknown>, facts: ConnectionFacts) {
    super()
    this.#owner = owner
    this.#connection = connection
    this.encrypted = facts.encrypted === true
    for (const name of ['remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort'] as const) {
      // The class of Node has getters of these names, which ask a handle that is not there.
      Object.defineProperty(this, name, { value: facts[name], enumerable: true })
    }
    // Bytes that wait for the client.
    Object.defineProperty(this, 'writableLength', { get: () => connection.bufferedAmount })
    // As in `ws`, errors of the connection are those of the WebSocket.
    this.on('error', () => {})
  }

  /** Throws NotSupportedError. */
  override write(): never {
    throw new NotSupportedError('WebSocket._socket.write', 'send whole messages with the WebSocket')
  }

  /** Cuts the connection once everything is written. Throws NotSupportedError for data. */
  override end(data?: unknown): this {
    if (data !== undefined && typeof data !== 'function') this.write()
    this.#connection.drained().then(
      () => this.destroy(),
      () => this.destroy(),
    )
    return this
  }

  override pause(): this {
    this.#owner.pause()
    return this
  }

  override resume(): this {
    this.#owner.resume()
    return this
  }

  override isPaused(): boolean {
    return this.#owner.isPaused
  }

  /** 0 is no time limit, as there is none. Throws NotSupportedError for others. */
  override setTimeout(milliseconds: number): this {
    if (milliseconds > 0) {
      throw new NotSupportedError('WebSocket._socket.setTimeout', 'send Pings, and terminate what does not answer')
    }
    return this
  }

  /** Nothing is delayed. */
  override setNoDelay(noDelay = true): this {
    if (!noDelay) throw new NotSupportedError('WebSocket._socket.setNoDelay(false)', 'leave it out')
    return this
  }

  override setKeepAlive(enable = false): this {
    if (enable) warn('WebSocket._socket.setKeepAlive has no effect: send Pings, and terminate what does not answer')
    return this
  }

  override ref(): this {
    return this
  }

  override unref(): this {
    throw new NotSupportedError('WebSocket._socket.unref', 'unref the server of node:http, and terminate the WebSocket')
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#owner.terminate()
    super._destroy(error, callback)
  }
}
