/**
 * The portable engine's listening socket: a server of `node:net`, behind which a connection passes the PROXY
 * protocol and TLS, where these are asked for, before it gets to HTTP.
 */
import { Buffer } from 'node:buffer'
import { existsSync } from 'node:fs'
import { createServer, type Server as NetServer, type Socket as NetSocket } from 'node:net'
import { dirname } from 'node:path'
import process from 'node:process'
import type { TLSSocket } from 'node:tls'
import { ClosedError, ListenError, OptionError } from '../../errors.js'
import type { EngineServerOptions, EngineTls, ListenAddress } from '../contract.js'
import { readPrologue } from './prologue.js'
import { parseProxyHeader } from './proxy.js'
import { PortableTls, transportOf } from './tls.js'

/** Takes a connection that is ready for HTTP. `proxiedAddress` is empty where no proxy has told one. */
export type OnReady = (stream: NetSocket, proxiedAddress: string) => void

export class PortableListener {
  /** Undefined while the engine does not listen. */
  #server: NetServer | undefined
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
  listen(address: ListenAddress, onError: (error: NodeJS.ErrnoException) => void): Promise<number> {
    const server = createServer({ allowHalfOpen: this.#allowHalfOpen, noDelay: true }, (socket) => this.#accept(socket))
    if (!this.#keepsProcessAlive) server.unref()
    this.#server = server
    return new Promise((resolve, reject) => {
      const refuse = (error: NodeJS.ErrnoException) => {
        if (this.#server === server) this.#server = undefined
        reject(ListenError.fromSystemCode(codeOf(error, address), address, error))
      }
      server.once('error', refuse)
      server.once('close', () => reject(new ClosedError()))
      server.listen(listenOptions(address), () => {
        // Node goes on to listen when `close` is called while it looks the address up.
        if (this.#server !== server) {
          server.close()
          return
        }
        server.off('error', refuse).on('error', onError)
        const bound = server.address()
        resolve(typeof bound === 'object' && bound !== null ? bound.port : 0)
      })
    })
  }

  get isListening(): boolean {
    return this.#server !== undefined
  }

  stop(): void {
    this.#server?.close()
    this.#server = undefined
  }

  /** Cuts every connection: those in a TLS handshake, those that speak HTTP, those that speak WebSocket. */
  cut(): void {
    for (const stream of this.#streams) stream.destroy()
  }

  ref(): void {
    this.#keepsProcessAlive = true
    this.#server?.ref()
  }

  unref(): void {
    this.#keepsProcessAlive = false
    this.#server?.unref()
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

/**
 * SO_REUSEPORT came to `net.Server.listen` with Node.js 22.12 and 23.1; earlier releases ignore the option in
 * silence.
 */
const CAN_REUSE_PORT = (() => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12)
})()

/**
 * What fits into `sockaddr_un` with a NUL behind it. Node would cut a longer path off. Named pipes of Windows
 * know no such limit.
 */
const MAX_PATH_BYTES: Partial<Record<NodeJS.Platform, number>> = { linux: 107, android: 107, darwin: 103, freebsd: 103 }

/** In a worker of node:cluster the port is this process's own, as it is with the native engine. */
function listenOptions(address: ListenAddress) {
  if ('unix' in address) {
    if (Buffer.byteLength(address.unix) > (MAX_PATH_BYTES[process.platform] ?? Number.POSITIVE_INFINITY)) {
      throw new ListenError('ENAMETOOLONG', address)
    }
    return { path: address.unix, exclusive: true }
  }
  const { host, port, reusePort } = address
  if (reusePort && !CAN_REUSE_PORT) {
    throw new OptionError('reusePort', true, 'false on the portable engine with Node.js before 22.12, which cannot do it')
  }
  return { host, port, exclusive: true, ...(reusePort && { reusePort }) }
}

/** libuv says EACCES where the system says ENOENT. */
function codeOf({ code = '' }: NodeJS.ErrnoException, address: ListenAddress): string {
  return code === 'EACCES' && 'unix' in address && !existsSync(dirname(address.unix)) ? 'ENOENT' : code
}
