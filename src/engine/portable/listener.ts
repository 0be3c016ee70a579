/**
 * The portable engine's listening sockets: servers of `node:net`, behind which a connection passes the PROXY
 * protocol and TLS, where these are asked for, before it gets to HTTP.
 */
import { Buffer } from 'node:buffer'
import { existsSync } from 'node:fs'
import { createServer, type Server as NetServer, type Socket as NetSocket } from 'node:net'
import { dirname } from 'node:path'
import process from 'node:process'
import type { TLSSocket } from 'node:tls'
import { ClosedError, ListenError, OptionError } from '../../errors.js'
import { NODE_CAN_REUSE_PORT } from '../../util/reuse-port.js'
import type { BoundAddress, EngineServerOptions, EngineTls, ListenAddress } from '../contract.js'
import { readPrologue } from './prologue.js'
import { parseProxyHeader } from './proxy.js'
import { PortableTls, transportOf } from './tls.js'

/** Takes a connection that is ready for HTTP. `proxiedAddress` is empty where no proxy has told one. */
export type OnReady = (stream: NetSocket, proxiedAddress: string) => void

export class PortableListener {
  /** One for each address; undefined while the engine does not listen. */
  #servers: Set<NetServer> | undefined
  readonly #allowHalfOpen: boolean
  #keepsProcessAlive = true
  readonly #onReady: OnReady
  readonly #readsProxyHeader: boolean
  readonly #streams = new Set<NetSocket>()
  /** Addresses that proxies have told, of connections whose TLS handshake is not done. */
  readonly #proxied = new WeakMap<NetSocket, string>()
  #tls: PortableTls | undefined
  /** Connections accepted so far. */
  accepted = 0

  /** Throws TlsError. */
  constructor({ tls, proxyProtocol }: EngineServerOptions, onReady: OnReady) {
    this.#onReady = onReady
    this.#readsProxyHeader = proxyProtocol
    if (tls !== undefined) this.reloadTls(tls)
    // As Node's own HTTP and HTTPS servers do: an HTTP client may half-close; TLS has no half-closed state.
    this.#allowHalfOpen = tls === undefined
  }

  reloadTls(entries: readonly EngineTls[]): void {
    this.#tls = new PortableTls(entries, (stream) => this.#secured(stream))
  }

  /** From then on, `onError` gets the errors of accepting. Not while it listens. */
  async listen(
    addresses: readonly ListenAddress[],
    onError: (error: NodeJS.ErrnoException) => void,
  ): Promise<readonly BoundAddress[]> {
    const servers = new Set<NetServer>()
    this.#servers = servers
    const bound: BoundAddress[] = []
    try {
      // Addresses are numeric, and so Node binds within ticks and microtasks: the event loop, and with it the
      // first connection, comes when the last address is bound.
      for (const address of addresses) {
        if (this.#servers !== servers) throw new ClosedError()
        bound.push(await this.#bind(address, servers, onError))
      }
    } catch (error) {
      if (this.#servers === servers) this.stop()
      throw error
    }
    return bound
  }

  #bind(address: ListenAddress, servers: Set<NetServer>, onError: (error: NodeJS.ErrnoException) => void): Promise<BoundAddress> {
    const server = createServer({ allowHalfOpen: this.#allowHalfOpen, noDelay: true }, (socket) => this.#accept(socket))
    if (!this.#keepsProcessAlive) server.unref()
    return new Promise((resolve, reject) => {
      const refuse = (error: NodeJS.ErrnoException) => {
        servers.delete(server)
        reject(ListenError.fromSystemCode(codeOf(error, address), address, error))
      }
      server.once('error', refuse)
      server.once('close', () => reject(new ClosedError()))
      const options = listenOptions(address)
      servers.add(server)
      server.listen(options, () => {
        // Node goes on to listen when `close` is called while it looks the address up.
        if (this.#servers !== servers) {
          server.close()
          return
        }
        const at = server.address()
        if ('host' in address && address.host === EVERY_ADDRESS && typeof at === 'object' && at?.family === 'IPv4') {
          server.close()
          refuse(Object.assign(new Error('IPv6 is off'), { code: 'EAFNOSUPPORT' }))
          return
        }
        server.off('error', refuse).on('error', onError)
        resolve(typeof at === 'object' && at !== null ? { host: at.address, port: at.port } : { host: '', port: 0 })
      })
    })
  }

  get isListening(): boolean {
    return this.#servers !== undefined
  }

  stop(): void {
    const servers = this.#servers ?? []
    this.#servers = undefined
    for (const server of servers) server.close()
  }

  /** Cuts every connection: those in a TLS handshake, those that speak HTTP, those that speak WebSocket. */
  cut(): void {
    for (const stream of this.#streams) stream.destroy()
  }

  ref(): void {
    this.#keepsProcessAlive = true
    for (const server of this.#servers ?? []) server.ref()
  }

  unref(): void {
    this.#keepsProcessAlive = false
    for (const server of this.#servers ?? []) server.unref()
  }

  /** Takes a connection over that has got past PROXY headers and TLS. */
  adopt(stream: NetSocket): void {
    this.accepted += 1
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
  }

  #accept(socket: NetSocket): void {
    this.adopt(socket)
    if (!this.#readsProxyHeader) {
      this.#secure(socket, '')
      return
    }
    readPrologue(socket, parseProxyHeader, (address) => this.#secure(socket, address))
  }

  #secure(socket: NetSocket, proxiedAddress: string): void {
    if (this.#tls === undefined) {
      this.#onReady(socket, proxiedAddress)
      return
    }
    if (proxiedAddress !== '') this.#proxied.set(socket, proxiedAddress)
    this.#tls.accept(socket)
  }

  #secured(stream: TLSSocket): void {
    this.#onReady(stream, this.#proxied.get(transportOf(stream)) ?? '')
  }
}

/** IPv6, and IPv4 through it. */
const EVERY_ADDRESS = '::'

/**
 * What fits into `sockaddr_un` with a NUL behind it. Node would cut a longer path off. Named pipes of Windows
 * know no such limit.
 */
const MAX_PATH_BYTES: Partial<Record<NodeJS.Platform, number>> = { linux: 107, android: 107, darwin: 103, freebsd: 103 }

/** In a worker of node:cluster the port is this process's own, as it is with the native engine. */
function listenOptions(address: ListenAddress) {
  if ('fd' in address) return { fd: address.fd, exclusive: true }
  if ('unix' in address) {
    if (Buffer.byteLength(address.unix) > (MAX_PATH_BYTES[process.platform] ?? Number.POSITIVE_INFINITY)) {
      throw new ListenError('ENAMETOOLONG', address)
    }
    return { path: address.unix, exclusive: true }
  }
  const { host, port, reusePort } = address
  if (reusePort && !NODE_CAN_REUSE_PORT) {
    throw new OptionError('reusePort', true, 'false on the portable engine with Node.js before 22.12, which cannot do it')
  }
  // Node looks every host up, for some ticks, but binds at once without one: to this address, where it can.
  return { ...(host !== EVERY_ADDRESS && { host }), port, exclusive: true, ...(reusePort && { reusePort }) }
}

/** libuv says EACCES where the system says ENOENT. */
function codeOf({ code = '' }: NodeJS.ErrnoException, address: ListenAddress): string {
  return code === 'EACCES' && 'unix' in address && !existsSync(dirname(address.unix)) ? 'ENOENT' : code
}
