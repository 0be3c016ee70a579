/** The engine that this package is about: µWebSockets in a native addon. */
import { Buffer } from 'node:buffer'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { ClosedError, EngineError, type ErrorCode, ListenError, TlsError } from '../errors.js'
import type {
  ConnectionEvents,
  ConnectionId,
  Engine,
  EngineResponse,
  EngineServer,
  EngineServerOptions,
  EngineTls,
  ExchangeId,
  ListenAddress,
  Payload,
  ServerEvents,
} from './contract.js'
import { type RingAddon, Rings, type ServerRecords } from './rings.js'

/** Where the addon, of which a thread has one, keeps its engine: this module may be evaluated more than once, by test runners for example. */
const ENGINE = Symbol.for('native-websocket-server.engine')

/** The class that the addon exports (`native/binding/server_wrap.h`). */
interface AddonServer {
  listen(): number
  stopListening(): void
  ref(keepAlive: boolean): void
  respond(
    exchange: ExchangeId,
    status: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    headOnly: boolean,
  ): boolean
  accept(exchange: ExchangeId, route: number, protocol: string, headers: readonly string[]): ConnectionId
  publish(topic: string, data: Payload, except: ConnectionId): boolean
  subscribers(topic: string): number
  isFlushed(): boolean
  dispose(): void
}

interface Addon extends RingAddon {
  WebSocketServer: new (
    number: number,
    options: {
      host: string
      port: number
      reusePort: boolean
      tls: EngineTls | undefined
      routes: EngineServerOptions['routes']
    },
  ) => AddonServer
  subscribe(id: ConnectionId, topic: string): boolean
  unsubscribe(id: ConnectionId, topic: string): boolean
  topics(id: ConnectionId): string[]
  [ENGINE]?: Engine
}

/** What the addon says of bad TLS material, as the codes of TlsError. */
const TLS_CODES: Readonly<Record<string, ErrorCode>> = {
  file: 'ERR_TLS_FILE',
  key: 'ERR_TLS_KEY',
  passphrase: 'ERR_TLS_PASSPHRASE',
  certificate: 'ERR_TLS_CERTIFICATE',
  mismatch: 'ERR_TLS_MISMATCH',
  context: 'ERR_TLS_CONTEXT',
}

/**
 * Loads the addon, once for each thread. Throws EngineError, which says what was tried, and why the install step built none when
 * it has left a reason.
 */
export function loadNative(): Engine {
  const addon = loadAddon()
  addon[ENGINE] ??= new NativeEngine(addon)
  return addon[ENGINE]
}

function loadAddon(): Addon {
  const root = new URL('../../', import.meta.url)
  // The variable names another build of the addon: the one with the sanitizers, for example.
  const file =
    process.env.NATIVE_WEBSOCKET_SERVER_ADDON ?? fileURLToPath(new URL('build/Release/native_websocket_server.node', root))
  try {
    // A .node file can only be loaded by require; its shape is that of native/binding/addon.cpp.
    return createRequire(import.meta.url)(file) as Addon
  } catch (cause) {
    const reason = new URL('build/install-reason.txt', root)
    const why = existsSync(reason) ? readFileSync(reason, 'utf8').trim() : String(cause instanceof Error ? cause.message : cause)
    throw new EngineError(`the native addon ${existsSync(file) ? 'cannot be loaded' : 'is not built'} (${file}): ${why}`, {
      cause,
    })
  }
}

class NativeEngine implements Engine {
  readonly name = 'native'
  readonly addon: Addon
  readonly rings: Rings
  /** Every server from `listen` to the last of its events, by number: what keeps it from being collected. */
  readonly servers = new Map<number, NativeServer>()
  #lastNumber = 0

  constructor(addon: Addon) {
    this.addon = addon
    this.rings = new Rings(addon, this.servers)
  }

  createServer(options: EngineServerOptions, events: ServerEvents): EngineServer {
    // 24 bits in a record carry the number. It comes round after 16 million servers; one that still runs keeps its own.
    do this.#lastNumber = (this.#lastNumber % 0xffffff) + 1
    while (this.servers.has(this.#lastNumber))
    return new NativeServer(this, this.#lastNumber, options, events)
  }
}

class NativeServer implements EngineServer, ServerRecords {
  readonly #engine: NativeEngine
  readonly #number: number
  readonly #options: EngineServerOptions
  readonly #events: ServerEvents
  /** From `listen` to `dispose`. */
  #addonServer: AddonServer | undefined
  #keepAlive = true
  #stopped = false

  constructor(engine: NativeEngine, number: number, options: EngineServerOptions, events: ServerEvents) {
    this.#engine = engine
    this.#number = number
    this.#options = options
    this.#events = events
  }

  async listen(address: ListenAddress): Promise<number> {
    if (this.#stopped) throw new ClosedError()
    if (this.#addonServer !== undefined) throw new ListenError('ERR_LISTENING', address.host, address.port)
    const { addon, servers } = this.#engine
    const server = translateTlsFailure(() => new addon.WebSocketServer(this.#number, { ...address, ...this.#options }))
    servers.set(this.#number, this)
    try {
      const port = server.listen()
      if (!this.#keepAlive) server.ref(false)
      this.#addonServer = server
      return port
    } catch (error) {
      server.dispose()
      throw ListenError.fromSystemCode(codeOf(error), address.host, address.port, error)
    }
  }

  stopListening(): void {
    this.#stopped = true
    this.#addonServer?.stopListening()
  }

  respond(exchange: ExchangeId, { status, statusText, headers, body, headOnly }: EngineResponse): boolean {
    const hasBody = status !== 204 && status !== 304
    const bytes = hasBody ? (body ?? NO_BYTES) : undefined
    return this.#addonServer?.respond(exchange, `${status} ${statusText}`, headers, bytes, headOnly) ?? false
  }

  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    events: ConnectionEvents,
  ): ConnectionId {
    const id = this.#addonServer?.accept(exchange, route, protocol, headers) ?? 0
    if (id !== 0) this.#engine.rings.open(id, events)
    return id
  }

  send(id: ConnectionId, data: Payload): number {
    return this.#engine.rings.send(id, data)
  }

  ping(id: ConnectionId, data: Payload): number {
    return this.#engine.rings.ping(id, data)
  }

  close(id: ConnectionId, code: number, reason: string): void {
    this.#engine.rings.close(id, code, reason)
  }

  terminate(id: ConnectionId): void {
    this.#engine.rings.terminate(id)
  }

  bufferedAmount(id: ConnectionId): number {
    return this.#engine.rings.bufferedAmount(id)
  }

  subscribe(id: ConnectionId, topic: string): boolean {
    return this.#engine.rings.isOpen(id) && this.#engine.addon.subscribe(id, topic)
  }

  unsubscribe(id: ConnectionId, topic: string): boolean {
    return this.#engine.rings.isOpen(id) && this.#engine.addon.unsubscribe(id, topic)
  }

  topics(id: ConnectionId): string[] {
    return this.#engine.rings.isOpen(id) ? this.#engine.addon.topics(id) : []
  }

  publish(topic: string, data: Payload, except: ConnectionId): boolean {
    return this.#addonServer?.publish(topic, data, except) ?? false
  }

  subscribers(topic: string): number {
    return this.#addonServer?.subscribers(topic) ?? 0
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
    this.#stopped = true
    const server = this.#addonServer
    if (server === undefined) return
    this.#addonServer = undefined
    server.dispose()
  }

  // ---- what the rings deliver ----

  requested(exchange: ExchangeId, lines: string): void {
    const [method = '', url = '', remoteAddress = '', ...headers] = lines.split('\n')
    // A piece of `lines` would keep all of it for as long as the socket remembers its address.
    const address = Buffer.from(remoteAddress, 'latin1').toString('latin1')
    this.#events.request(exchange, { method, url, remoteAddress: address, headers })
  }

  aborted(exchange: ExchangeId): void {
    this.#events.aborted(exchange)
  }

  descriptorsExhausted(): void {
    this.#events.descriptorsExhausted()
  }

  closed(): void {
    this.#engine.servers.delete(this.#number)
  }
}

const NO_BYTES = new Uint8Array(0)

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'ERR_LISTEN'
}

function translateTlsFailure<T>(make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof Error) || !('tlsFailure' in error)) throw error
    const code = TLS_CODES[String(error.tlsFailure)] ?? 'ERR_TLS_CONTEXT'
    throw new TlsError(code, `the TLS key or certificate cannot be used: ${error.message}`, undefined, { cause: error })
  }
}
