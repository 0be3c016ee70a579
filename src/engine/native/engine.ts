/** The engine that this package is about: µWebSockets in a native addon. */
import type { Buffer } from 'node:buffer'
import { ClosedError, ListenError } from '../../errors.js'
import {
  type CompressionAgreement,
  type ConnectionEvents,
  type ConnectionId,
  type Engine,
  type EngineCounters,
  type EngineHttp,
  type EngineResponse,
  type EngineServer,
  type EngineServerOptions,
  type EngineTls,
  type ExchangeId,
  type ListenAddress,
  NO_COUNTERS,
  type Payload,
  type ResponseHead,
  type ServerEvents,
} from '../contract.js'
import { type Addon, type AddonServer, ENGINE, loadAddon, translateTlsFailure } from './addon.js'
import { compressChoice } from './channel-layout.js'
import { NativeConnections } from './connections.js'
import type { ServerRecords } from './shared-channel.js'

/** Loads the addon, once for each thread. Throws EngineError: what was tried, and why none was built. */
export function loadNative(): Engine {
  const addon = loadAddon()
  addon[ENGINE] ??= new NativeEngine(addon)
  return addon[ENGINE]
}

class NativeEngine implements Engine {
  readonly name = 'native'
  readonly addon: Addon
  readonly connections: NativeConnections
  /**
   * By number, each server from `listen` to its last event: this map keeps it from being garbage-collected.
   */
  readonly servers = new Map<number, NativeServer>()
  #lastNumber = 0

  constructor(addon: Addon) {
    this.addon = addon
    this.connections = new NativeConnections(addon, this.servers)
  }

  createServer(options: EngineServerOptions, events: ServerEvents): EngineServer {
    // 24 bits in a record carry the number. Numbers come round after 16 million servers; a server that still
    // runs keeps its number.
    do this.#lastNumber = (this.#lastNumber % 0xffffff) + 1
    while (this.servers.has(this.#lastNumber))
    return new NativeServer(this, this.#lastNumber, options, events)
  }
}

class NativeServer implements EngineServer, EngineHttp, ServerRecords {
  readonly http = this
  readonly connections: NativeConnections
  readonly #engine: NativeEngine
  readonly #number: number
  #options: EngineServerOptions
  readonly events: ServerEvents
  /** From the first `listen` to `dispose`. */
  #addonServer: AddonServer | undefined
  #keepAlive = true
  /** What C++ had counted when the server was disposed of. */
  #lastCounters: EngineCounters = NO_COUNTERS
  #isListening = false
  #isDisposed = false

  constructor(engine: NativeEngine, number: number, options: EngineServerOptions, events: ServerEvents) {
    this.#engine = engine
    this.connections = engine.connections
    this.#number = number
    this.#options = options
    this.events = events
  }

  async listen(address: ListenAddress): Promise<number> {
    if (this.#isDisposed) throw new ClosedError()
    if (this.#isListening) throw new ListenError('ERR_LISTENING', address)
    this.#addonServer ??= this.#makeAddonServer()
    try {
      const port = this.#addonServer.listen(address)
      if (!this.#keepAlive) this.#addonServer.ref(false)
      this.#isListening = true
      return port
    } catch (error) {
      throw ListenError.fromSystemCode(codeOf(error), address, error)
    }
  }

  stopListening(): void {
    this.#isListening = false
    this.#addonServer?.stopListening()
  }

  reloadTls(tls: readonly EngineTls[]): void {
    translateTlsFailure(tls, () => this.#addonServer?.reloadTls(tls))
    this.#options = { ...this.#options, tls }
  }

  respond(exchange: ExchangeId, { status, statusText, headers, closes, contentLength, body }: EngineResponse): boolean {
    return this.#addonServer?.respond(exchange, `${status} ${statusText}`, headers, closes, contentLength, body) ?? false
  }

  beginResponse(exchange: ExchangeId, { status, statusText, headers, closes, contentLength }: ResponseHead): boolean {
    return this.#addonServer?.beginResponse(exchange, `${status} ${statusText}`, headers, closes, contentLength) ?? false
  }

  write(exchange: ExchangeId, chunk: Uint8Array): boolean {
    return this.#addonServer?.write(exchange, chunk) ?? true
  }

  endResponse(exchange: ExchangeId, closes: boolean): void {
    this.#addonServer?.endResponse(exchange, closes)
  }

  abort(exchange: ExchangeId): void {
    this.#addonServer?.abort(exchange)
  }

  pauseBody(exchange: ExchangeId): void {
    this.#addonServer?.pauseBody(exchange)
  }

  resumeBody(exchange: ExchangeId): void {
    this.#addonServer?.resumeBody(exchange)
  }

  peerCertificate(exchange: ExchangeId): Buffer | undefined {
    return this.#addonServer?.peerCertificate(exchange)
  }

  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    compression: CompressionAgreement | undefined,
    events: ConnectionEvents,
  ): ConnectionId {
    const id = this.#addonServer?.accept(exchange, route, protocol, headers, compression) ?? 0
    if (id !== 0) this.connections.open(id, events)
    return id
  }

  publish(topic: string, data: Payload, except: ConnectionId, compress?: boolean): boolean {
    return this.#addonServer?.publish(topic, data, except, compressChoice(compress)) ?? false
  }

  subscribers(topic: string): number {
    return this.#addonServer?.subscribers(topic) ?? 0
  }

  counters(): EngineCounters {
    return this.#addonServer?.counters() ?? this.#lastCounters
  }

  isFlushed(): boolean {
    return this.#addonServer?.isFlushed() ?? true
  }

  ref(): void {
    this.#keepAlive = true
    this.#addonServer?.ref(true)
  }

  unref(): void {
    this.#keepAlive = false
    this.#addonServer?.ref(false)
  }

  dispose(): void {
    this.#isDisposed = true
    const server = this.#addonServer
    if (server === undefined) return
    this.#lastCounters = server.counters()
    this.#addonServer = undefined
    server.dispose()
  }

  #makeAddonServer(): AddonServer {
    const { addon, servers } = this.#engine
    const server = translateTlsFailure(this.#options.tls, () => new addon.WebSocketServer(this.#number, this.#options))
    servers.set(this.#number, this)
    return server
  }

  /** The shared channel calls this: the last record of this server has come. */
  closed(): void {
    this.#engine.servers.delete(this.#number)
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'ERR_LISTEN'
}
