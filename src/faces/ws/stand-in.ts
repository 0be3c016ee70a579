/** What programs use the private `_socket` of `ws` for, of a connection whose bytes are the engine's. */
import { type Socket as EngineSocket, NotSupportedError } from '../../index.js'
import { BytelessSocket, type Ends } from '../byteless-socket.js'

/** What the socket of `node:http` tells, which may have been destroyed by then. */
export interface ConnectionFacts extends Ends {
  /** As in `node:tls`. */
  readonly encrypted?: boolean | undefined
  /** As in `node:tls`, of connections with TLS. */
  readonly authorized?: boolean | undefined
  /** As in `node:tls`, of connections with TLS. */
  readonly getPeerCertificate?: ((isDetailed?: boolean) => object) | undefined
}

interface Owner {
  readonly isPaused: boolean
  pause(): void
  resume(): void
  terminate(): void
}

/**
 * Knows the addresses, pauses, resumes and cuts the connection, and emits `drain` and `close`. Writing throws
 * NotSupportedError, and so does reading.
 */
export class SocketStandIn extends BytelessSocket {
  readonly encrypted: boolean
  readonly authorized: boolean | undefined
  readonly getPeerCertificate: ConnectionFacts['getPeerCertificate']
  readonly #owner: Owner
  readonly #connection: EngineSocket<unknown>

  constructor(owner: Owner, connection: EngineSocket<unknown>, facts: ConnectionFacts) {
    super(facts)
    this.#owner = owner
    this.#connection = connection
    this.encrypted = facts.encrypted === true
    this.authorized = facts.authorized
    this.getPeerCertificate = facts.getPeerCertificate?.bind(facts)
    // Bytes that wait for the client. `writableLength` asks for this, and so do programs. No bytes get there.
    const { _writableState: state } = this as unknown as { _writableState: object }
    Object.defineProperty(state, 'length', { get: () => connection.bufferedAmount, set: () => {} })
    // As in `ws`, errors of the connection are those of the WebSocket.
    this.on('error', () => {})
  }

  protected override get what(): string {
    return 'WebSocket._socket'
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

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#owner.terminate()
    super._destroy(error, callback)
  }
}
