/**
 * The engine that runs everywhere: the `ws` package on `node:http`, behind a listener of its own. Beside
 * serving where no addon can be built, it says in plain code what the contract means. Most of the contract's
 * many methods are a line here: the modules beside this file do the work.
 */
import { Buffer } from 'node:buffer'
import './lend-require.js'
import { WebSocketServer as WsServer } from 'ws'
import './return-require.js'
import { ClosedError, WebSocketServerError } from '../../errors.js'
import {
  type BoundAddress,
  type CompressionAgreement,
  type ConnectionEvents,
  type ConnectionId,
  type ConnectionLimits,
  type Engine,
  type EngineCounters,
  type EngineServer,
  type EngineServerOptions,
  type EngineTls,
  type ExchangeId,
  type ForeignConnection,
  type ListenAddress,
  NO_COUNTERS,
  type Payload,
  type ServerEvents,
} from '../contract.js'
import { compressionOf } from './compression.js'
import { PortableConnection } from './connection.js'
import { ownCopy, PortableConnections } from './connections.js'
import { hasDescriptorLeft, isShortage } from './descriptors.js'
import { PortableHttp } from './http.js'
import { PortableListener } from './listener.js'
import { PortableThreadMember } from './thread-member.js'
import type { Traffic } from './traffic.js'

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
  joinThreads: (options, events) => new PortableThreadMember(options, events),
}

class PortableServer implements EngineServer {
  readonly http: PortableHttp
  readonly connections = new PortableConnections()
  readonly #options: EngineServerOptions
  readonly #events: ServerEvents
  readonly #listener: PortableListener
  /** By what `ws` is told of compression: zlib's memory level, 0 where there is none. */
  readonly #acceptors = new Map<number, WsServer>()
  readonly #traffic: Traffic = { ...NO_COUNTERS }
  #lastId = 0
  #isDisposed = false
  #isOutOfDescriptors = false
  #sweeper: NodeJS.Timeout | undefined

  constructor(options: EngineServerOptions, events: ServerEvents) {
    this.#options = options
    this.#events = events
    this.http = new PortableHttp(events, options.requestTimeout, () => this.#nextId())
    this.#listener = new PortableListener(options, (stream, proxiedAddress) => this.http.serve(stream, proxiedAddress))
  }

  async listen(addresses: readonly ListenAddress[]): Promise<readonly BoundAddress[]> {
    if (this.#isDisposed) throw new ClosedError()
    if (this.#listener.isListening) throw new WebSocketServerError('ERR_LISTENING', 'the engine listens already')
    const bound = await this.#listener.listen(addresses, (error) => this.#noteDescriptors(!isShortage(error)))
    this.http.isStopped = false
    this.#startSweeping()
    return bound
  }

  adopt({ socket, input, incoming }: ForeignConnection): boolean {
    this.#startSweeping()
    this.#listener.adopt(socket)
    // Node's servers destroy a socket after an error, and then tell; from here on 'close' tells.
    socket.on('error', () => {})
    socket.unshift(input)
    this.http.serve(socket, '', incoming)
    // It may have been paused, which Node's parser does not undo.
    socket.resume()
    return true
  }

  stopListening(): void {
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
    limits?: ConnectionLimits,
  ): ConnectionId {
    const settings = this.#options.routes[route]
    if (settings === undefined) return 0
    const acceptor = this.#acceptorFor(compression)
    const own = { ...settings, ...limits }
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
      const onEnd = () => this.connections.delete(id)
      this.connections.add(id, new PortableConnection(socket, stream, input, own, compression, this.#traffic, events, onEnd))
    })
    acceptor.off('headers', addHeaders)
    return connection
  }

  publish(topic: string, data: Payload, except: ConnectionId, compress?: boolean, isText?: boolean): boolean {
    const payload = ownCopy(data)
    let hasSubscriber = false
    for (const id of this.connections.subscribers(topic)) {
      if (id === except) continue
      hasSubscriber = true
      this.connections.find(id)?.publish(payload, compress, isText)
    }
    return hasSubscriber
  }

  subscribers(topic: string): number {
    return this.connections.subscribers(topic).size
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
    this.#isDisposed = true
    this.stopListening()
    clearInterval(this.#sweeper)
    this.http.close()
    // Their ends come at once, and not behind what they hold.
    for (const connection of this.connections) connection.terminate()
    this.#listener.cut()
  }

  #acceptorFor(compression: CompressionAgreement | undefined): WsServer {
    const level = compression?.compressor.memoryLevel ?? 0
    let acceptor = this.#acceptors.get(level)
    if (acceptor === undefined) {
      // The 30 seconds in which a peer must answer a Close frame are the default of ws.
      acceptor = new WsServer({ noServer: true, clientTracking: false, autoPong: false, ...compressionOf(compression) })
      this.#acceptors.set(level, acceptor)
    }
    return acceptor
  }

  #startSweeping(): void {
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.connections) connection.check(now)
    this.http.probe()
    this.#noteDescriptors(hasDescriptorLeft())
  }

  #noteDescriptors(areLeft: boolean): void {
    if (!areLeft && !this.#isOutOfDescriptors) this.#events.descriptorsExhausted()
    this.#isOutOfDescriptors = !areLeft
  }
}
