/** The engine that this package is about: µWebSockets in a native addon. */
import type { IncomingMessage } from 'node:http'
import { ClosedError, ListenError, WebSocketServerError } from '../../errors.js'
import type {
  BoundAddress,
  CompressionAgreement,
  ConnectionEvents,
  ConnectionId,
  ConnectionLimits,
  Engine,
  EngineCounters,
  EngineServer,
  EngineServerOptions,
  EngineTls,
  ExchangeId,
  ForeignConnection,
  ListenAddress,
  Payload,
  ServerEvents,
  ThreadMember,
  ThreadMemberEvents,
  ThreadMemberOptions,
} from '../contract.js'
import { type Addon, ENGINE, loadAddon, translateTlsFailure } from './addon.js'
import { adoptionError, descriptorOf, isShortage } from './adoption.js'
import { compressChoice } from './channel-layout.js'
import { NativeConnections } from './connections.js'
import { httpClassOf, type NativeHttp } from './http.js'
import type { ServerRecords } from './shared-channel.js'
import { NativeThreadMember } from './thread-member.js'

/** Loads the addon, once for each thread. Throws EngineError: what was tried, and why none was built. */
export function loadNative(): Engine {
  const { addon } = loadAddon()
  addon[ENGINE] ??= new NativeEngine(addon)
  return addon[ENGINE]
}

class NativeEngine implements Engine {
  readonly name = 'native'
  readonly addon: Addon
  readonly connections: NativeConnections
  readonly Http: ReturnType<typeof httpClassOf>
  /**
   * By number, each server until its last event: this map keeps it from being garbage-collected.
   */
  readonly servers = new Map<number, NativeServer>()
  #lastNumber = 0

  constructor(addon: Addon) {
    this.addon = addon
    this.connections = new NativeConnections(addon, this.servers)
    this.Http = httpClassOf(addon)
  }

  createServer(options: EngineServerOptions, events: ServerEvents): EngineServer {
    // 24 bits in a record carry the number. Numbers come round after 16 million servers; a server that still
    // runs keeps its number.
    do this.#lastNumber = (this.#lastNumber % 0xffffff) + 1
    while (this.servers.has(this.#lastNumber))
    return new NativeServer(this, this.#lastNumber, options, events)
  }

  joinThreads(options: ThreadMemberOptions, events: ThreadMemberEvents): ThreadMember {
    return new NativeThreadMember(this.addon, options, events)
  }
}

class NativeServer implements EngineServer, ServerRecords {
  /** All of the server that is in C++. */
  readonly http: NativeHttp
  readonly connections: NativeConnections
  readonly #engine: NativeEngine
  readonly #number: number
  readonly events: ServerEvents
  #keepAlive = true
  /** What C++ had counted when the server was disposed of; undefined until then. */
  #lastCounters: EngineCounters | undefined
  /** Of the call of `listen` that holds; undefined while the server does not listen. */
  #listening: symbol | undefined
  /** Of exchanges on connections that were taken over, until their requests are reported. */
  readonly adopted = new Map<ExchangeId, IncomingMessage>()

  constructor(engine: NativeEngine, number: number, options: EngineServerOptions, events: ServerEvents) {
    this.#engine = engine
    this.connections = engine.connections
    this.#number = number
    this.events = events
    if (options.routes.some(({ lendMessages }) => lendMessages)) engine.connections.prepareLending()
    this.http = translateTlsFailure(engine.addon, options.tls, () => new engine.Http(number, options))
    engine.servers.set(number, this)
  }

  async listen(addresses: readonly ListenAddress[]): Promise<readonly BoundAddress[]> {
    if (this.#lastCounters !== undefined) throw new ClosedError()
    if (this.#listening !== undefined) throw new WebSocketServerError('ERR_LISTENING', 'the engine listens already')
    // In one turn of the event loop, so that nothing is accepted before all of them are bound.
    const bound = addresses.map((address) => this.#bind(address))
    if (!this.#keepAlive) this.http.ref(false)
    const attempt = Symbol('listen')
    this.#listening = attempt
    await undefined
    if (this.#listening !== attempt) throw new ClosedError()
    return bound
  }

  #bind(address: ListenAddress): BoundAddress {
    try {
      return this.http.listen(address)
    } catch (error) {
      this.http.stopListening()
      throw ListenError.fromSystemCode(codeOf(error), address, error)
    }
  }

  stopListening(): void {
    this.#listening = undefined
    this.http.stopListening()
  }

  adopt({ socket, input, incoming }: ForeignConnection): boolean {
    const descriptor = descriptorOf(socket)
    let isTaken = true
    try {
      const exchange = this.http.adopt(descriptor, input)
      if (exchange !== 0) this.adopted.set(exchange, incoming)
    } catch (error) {
      if (!isShortage(error)) throw adoptionError(error)
      isTaken = false
      this.events.descriptorsExhausted()
    }
    // C++ has a descriptor of its own. To close the other one sends nothing to the client.
    socket.destroy()
    return isTaken
  }

  reloadTls(tls: readonly EngineTls[]): void {
    translateTlsFailure(this.#engine.addon, tls, () => this.http.reloadTls(tls))
  }

  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    compression: CompressionAgreement | undefined,
    events: ConnectionEvents,
    limits?: ConnectionLimits,
  ): ConnectionId {
    const id = this.http.accept(exchange, route, protocol, headers, compression, limits)
    if (id !== 0) this.connections.open(id, events)
    return id
  }

  publish(topic: string, data: Payload, except: ConnectionId, compress?: boolean, isText = false): boolean {
    return this.http.publish(topic, data, except, compressChoice(compress), isText)
  }

  subscribers(topic: string): number {
    return this.http.subscribers(topic)
  }

  counters(): EngineCounters {
    return this.#lastCounters ?? this.http.counters()
  }

  ref(): void {
    this.#keepAlive = true
    this.http.ref(true)
  }

  unref(): void {
    this.#keepAlive = false
    this.http.ref(false)
  }

  dispose(): void {
    this.#listening = undefined
    this.#lastCounters ??= this.http.counters()
    this.http.dispose()
  }

  /** The shared channel calls this: the last record of this server has come. */
  closed(): void {
    this.#engine.servers.delete(this.#number)
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'ERR_LISTEN'
}
