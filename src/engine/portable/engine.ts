/**
/**
 * The engine that runs everywhere: the `ws` package on `node:http`, behind a listener of its own. Beside
 * serving where no addon can be built, it says in plain code what the contract means.
 *
 * Long because the contract has many methods, most of which are a line here: what they do is in the modules
 * beside it.
 */
import { Buffer } from 'node:buffer'
import { WebSocketServer as WsServer } from 'ws'
import { ClosedError } from '../../errors.js'
import { plainView } from '../../util/bytes.js'
import type {
  CompressionAgreement,
  ConnectionEvents,
  ConnectionId,
  Engine,
  EngineCounters,
  EngineServer,
  EngineServerOptions,
  EngineTls,
  ExchangeId,
  Fragment,
  ListenAddress,
  Payload,
  ServerEvents,
} from '../contract.js'
import { compressionOf } from './compression.js'
import { PortableConnection } from './connection.js'
import { hasDescriptorLeft, isShortage } from './descriptors.js'
import { PortableHttp } from './http.js'
import { PortableListener } from './listener.js'
import { Topics } from './topics.js'
import { Traffic } from './traffic.js'

/**
 * Milliseconds between two looks at silent connections, at HTTP clients that are not read, and at the
 * descriptors that are left.
 */
const SWEEP_INTERVAL = 1000

/** Bytes behind a handshake wait in PacedInput; `ws` gets none. */
const NOTHING = Buffer.alloc(0)

export const portableEngine: Engine = {
  name: 'portable',
  createServer: (options, events) => new PortableServer(options, events),
}

class PortableServer implements EngineServer {
  readonly http: PortableHttp
  readonly #options: EngineServerOptions
  readonly #events: ServerEvents
  readonly #listener: PortableListener
  /** One for each route: ws keeps the limits of messages here. */
  readonly #acceptors: readonly WsServer[]
  readonly #connections = new Map<ConnectionId, PortableConnection>()
  readonly #topics = new Topics()
  readonly #traffic = new Traffic()
  #lastId = 0
  #isStopped = false
  #isOutOfDescriptors = false
  #sweeper: NodeJS.Timeout | undefined

  constructor(options: EngineServerOptions, events: ServerEvents) {
    this.#options = options
    this.#events = events
    this.http = new PortableHttp(events, options.requestTimeout, () => this.#nextId())
    this.#listener = new PortableListener(options, (stream, proxiedAddress) => this.http.serve(stream, proxiedAddress))
    // The 30 seconds in which a peer must answer a Close frame are the default of ws.
    this.#acceptors = options.routes.map(
      (route) => new WsServer({ noServer: true, clientTracking: false, autoPong: false, ...compressionOf(route) }),
    )
  }

  async listen(address: ListenAddress): Promise<number> {
    if (this.#isStopped) throw new ClosedError()
    const port = await this.#listener.listen(address, (error) => this.#noteDescriptors(!isShortage(error)))
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
    return port
  }

  stopListening(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.http.isStopped = true
    this.#listener.stop()
  }

  reloadTls(tls: readonly EngineTls[]): void {
    this.#listener.reloadTls(tls)
  }

  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    compression: CompressionAgreement | undefined,
    events: ConnectionEvents,
  ): ConnectionId {
    const [acceptor, limits] = [this.#acceptors[route], this.#options.routes[route]]
    if (acceptor === undefined || limits === undefined) return 0
    const found = this.http.takeUpgrade(exchange)
    if (found === undefined) return 0
    const { request, stream, input } = found
    // `Upgrades` has decided the handshake. `ws` reads these fields once more, and would choose the first
    // protocol of several.
    request.headers.upgrade = 'websocket'
    if (protocol === '') delete request.headers['sec-websocket-protocol']
    else request.headers['sec-websocket-protocol'] = protocol
    if (compression === undefined) delete request.headers['sec-websocket-extensions']
    else request.headers['sec-websocket-extensions'] = compression.extension
    const addHeaders = (lines: string[]) => {
      for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`)
    }
    let connection = 0
    acceptor.once('headers', addHeaders)
    // `handleUpgrade` calls back before it returns, or not at all when the client has gone.
    acceptor.handleUpgrade(request, stream, NOTHING, (socket) => {
      const id = this.#nextId()
      connection = id
      const forget = () => this.#forget(id)
      this.#connections.set(id, new PortableConnection(socket, stream, input, limits, compression, this.#traffic, events, forget))
    })
    acceptor.off('headers', addHeaders)
    return connection
  }

  send(id: ConnectionId, data: Payload, compress?: boolean): number {
    return this.#connections.get(id)?.send(ownCopy(data), compress) ?? 0
  }

  ping(id: ConnectionId, data: Payload): number {
    return this.#connections.get(id)?.ping(ownCopy(data)) ?? 0
  }

  close(id: ConnectionId, code: number, reason: string): void {
    this.#topics.unsubscribeAll(id)
    this.#connections.get(id)?.close(code, reason)
  }

  terminate(id: ConnectionId): void {
    this.#topics.unsubscribeAll(id)
    this.#connections.get(id)?.terminate()
  }

  bufferedAmount(id: ConnectionId): number {
    return this.#connections.get(id)?.bufferedAmount ?? 0
  }

  setBufferedAmountLowThreshold(id: ConnectionId, threshold: number): boolean {
    return this.#connections.get(id)?.setBufferedAmountLowThreshold(threshold) ?? false
  }

  isOpen(id: ConnectionId): boolean {
    return this.#connections.get(id)?.isOpen ?? false
  }

  cork<R>(id: ConnectionId, callback: () => R): R {
    const connection = this.#connections.get(id)
    return connection === undefined ? callback() : connection.cork(callback)
  }

  beginMessage(id: ConnectionId): void {
    this.#connections.get(id)?.beginMessage()
  }

  readyForFragment(id: ConnectionId): boolean {
    return this.#connections.get(id)?.readyForFragment ?? true
  }

  sendFragment(id: ConnectionId, data: Uint8Array, fragment: Fragment): void {
    this.#connections.get(id)?.sendFragment(Buffer.from(plainView(data)), fragment)
  }

  withdrawMessage(id: ConnectionId): void {
    this.#connections.get(id)?.endMessage()
  }

  pause(id: ConnectionId): void {
    this.#connections.get(id)?.pause()
  }

  resume(id: ConnectionId): void {
    this.#connections.get(id)?.resume()
  }

  subscribe(id: ConnectionId, topic: string): boolean {
    return (this.#connections.get(id)?.isOpen ?? false) && this.#topics.subscribe(id, topic)
  }

  unsubscribe(id: ConnectionId, topic: string): boolean {
    return this.#topics.unsubscribe(id, topic)
  }

  isSubscribed(id: ConnectionId, topic: string): boolean {
    return this.#topics.has(id, topic)
  }

  topics(id: ConnectionId): string[] {
    return this.#topics.of(id)
  }

  publish(topic: string, data: Payload, except: ConnectionId, compress?: boolean): boolean {
    const payload = ownCopy(data)
    let hasSubscriber = false
    for (const id of this.#topics.subscribers(topic)) {
      if (id === except) continue
      hasSubscriber = true
      this.#connections.get(id)?.publish(payload, compress)
    }
    return hasSubscriber
  }

  subscribers(topic: string): number {
    return this.#topics.subscribers(topic).size
  }

  counters(): EngineCounters {
    return { ...this.#traffic, tcpConnections: this.#listener.accepted }
  }

  ref(): void {
    this.#listener.ref()
  }

  unref(): void {
    this.#listener.unref()
  }

  dispose(): void {
    this.stopListening()
    clearInterval(this.#sweeper)
    this.http.close()
    this.#listener.cut()
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }

  #forget(id: ConnectionId): void {
    this.#topics.unsubscribeAll(id)
    this.#connections.delete(id)
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#connections.values()) connection.check(now)
    this.http.probe()
    this.#noteDescriptors(hasDescriptorLeft())
  }

  #noteDescriptors(areLeft: boolean): void {
    if (!areLeft && !this.#isOutOfDescriptors) this.#events.descriptorsExhausted()
    this.#isOutOfDescriptors = !areLeft
  }
}

/** The caller may change its bytes as soon as a call returns, and they may wait in Node until then. */
function ownCopy(data: Payload): Payload {
  return typeof data === 'string' ? data : Buffer.from(plainView(data))
}
