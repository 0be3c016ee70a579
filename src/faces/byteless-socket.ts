/**
 * A socket as programs get it of a connection whose bytes are an engine's: it knows where the connection
 * leads, and what would need the bytes, or settings of the descriptor, throws NotSupportedError or, where
 * common programs ask for it in any case, is a process warning.
 */
import { type AddressInfo, isIPv6, Socket as NetSocket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { NotSupportedError } from '../index.js'
import { warn } from './warning.js'

/** Where a connection leads; undefined where nobody knows. */
export interface Ends {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  readonly remoteFamily?: string | undefined
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  readonly localFamily?: string | undefined
}

const NAMES = ['remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'localFamily'] as const

/** Events that come with bytes. */
const READING: ReadonlySet<string> = new Set(['data', 'readable'])

/** What sockets of `node:tls` have beyond others. */
const METHODS_OF_TLS = Object.entries(Object.getOwnPropertyDescriptors(TLSSocket.prototype))
  .filter(([name, { value }]) => typeof value === 'function' && !(name.startsWith('_') || name in NetSocket.prototype))
  .map(([name]) => name)

// biome-ignore lint/suspicious/noExplicitAny: listeners take whatever their event has
type Listener = (...emitted: any[]) => void

export abstract class BytelessSocket extends NetSocket {
  /** As in `node:tls`. */
  abstract readonly encrypted: boolean

  constructor(ends: Ends) {
    super()
    for (const name of NAMES) {
      // The class of Node has getters of these names, which ask a handle that is not there.
      // On a unix socket nothing is known, which engines tell as '' and 0.
      Object.defineProperty(this, name, { value: ends[name] || familyOf(name, ends), enumerable: true })
    }
  }

  /** How messages name the socket. */
  protected abstract get what(): string

  override address(): AddressInfo | Record<string, never> {
    const { localAddress: address, localFamily: family = '', localPort: port = 0 } = this
    return address ? { address, family, port } : {}
  }

  /** Throws NotSupportedError for events that come with bytes, and so do `pipe` and iterators. */
  override on(event: string, listener: Listener): this {
    this.checkEvent(event)
    return super.on(event, listener)
  }

  override addListener(event: string, listener: Listener): this {
    return this.on(event, listener)
  }

  override prependListener(event: string, listener: Listener): this {
    this.checkEvent(event)
    return super.prependListener(event, listener)
  }

  /** Throws NotSupportedError for bytes. */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    this.#checkBytes('push', chunk)
    return super.push(chunk, encoding)
  }

  /** Throws NotSupportedError for bytes, such as a `head` that is given back. */
  override unshift(chunk: unknown, encoding?: BufferEncoding): void {
    this.#checkBytes('unshift', chunk)
    super.unshift(chunk, encoding)
  }

  #checkBytes(member: string, chunk: unknown): void {
    if (chunk !== null && Reflect.get(Object(chunk), 'length') !== 0) {
      throw this.absent(member, 'leave what the client has sent to the engine')
    }
  }

  // The constructor of Node's class adds listeners, too: no private method is there by then.
  protected checkEvent(event: string): void {
    if (READING.has(event)) throw this.absent(`a listener for ${event}`, 'read the body of the request, or messages')
  }

  /** Throws NotSupportedError, where Node throws, too. */
  override setEncoding(): never {
    throw this.absent('setEncoding', 'decode what you read from the request, or messages')
  }

  /** Nothing is delayed. Throws NotSupportedError for false. */
  override setNoDelay(noDelay = true): this {
    if (!noDelay) throw this.absent('setNoDelay(false)', 'leave it out')
    return this
  }

  /** A process warning: proxies ask for it. */
  override setKeepAlive(enable = false): this {
    if (enable) warn(`setKeepAlive of ${this.what} has no effect: send Pings on WebSockets, set timeouts for requests`)
    return this
  }

  override ref(): this {
    return this
  }

  /** Throws NotSupportedError. */
  override unref(): never {
    throw this.absent('unref', 'unref the server, and cut the connection')
  }

  /** As `destroy`: engines have one way to cut a connection. */
  override resetAndDestroy(): this {
    return this.destroy()
  }

  /** Throws NotSupportedError. */
  override connect(): never {
    throw this.absent('connect', 'make a Socket of your own')
  }

  protected absent(member: string, instead: string): NotSupportedError {
    return new NotSupportedError(`${member} of ${this.what}`, instead)
  }

  static {
    const { prototype } = BytelessSocket
    const define = (name: string, descriptor: PropertyDescriptor & ThisType<BytelessSocket>) =>
      Object.defineProperty(prototype, name, { ...descriptor, configurable: true })
    // The types of Node have these as properties, which no getter of a class may override.
    define('pending', { value: false })
    define('bufferSize', {
      get() {
        return this.writableLength
      },
    })
    for (const name of ['bytesRead', 'bytesWritten']) {
      define(name, {
        get() {
          // No error, since programs read it for their logs.
          warn(`${name} of ${this.what} is 0: the engine counts for all connections together (metrics)`)
          return 0
        },
      })
    }
    // Of newer releases of Node.
    for (const name of ['setTypeOfService', 'getTypeOfService'].filter((each) => each in NetSocket.prototype)) {
      define(name, {
        writable: true,
        value() {
          throw this.absent(name, 'have a rule of the packet filter set it')
        },
      })
    }
    for (const name of METHODS_OF_TLS) {
      define(name, {
        get() {
          // As on a socket without TLS, which has no such member.
          if (!this.encrypted) return undefined
          return () => {
            throw this.absent(name, 'ask getPeerCertificate for the certificate of the client; the engine keeps the rest')
          }
        },
      })
    }
  }
}

/** As Node names it; undefined on a unix socket. */
function familyOf(name: (typeof NAMES)[number], { localAddress, remoteAddress }: Ends): string | undefined {
  const address = name === 'localFamily' ? localAddress : name === 'remoteFamily' ? remoteAddress : undefined
  if (!address) return undefined
  return isIPv6(address) ? 'IPv6' : 'IPv4'
}
