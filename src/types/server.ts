/** What a server is made with, and how it closes. */
import type { Awaitable } from './common.js'
import type { TlsOptions } from './tls.js'

/** Options of a server, checked when it is made: whatever is wrong is an OptionError that names it. */
export interface ServerOptions {
  /**
   * `'native'` or `'portable'`. Naming one makes its absence an EngineError. Default: the environment
   * variable `NATIVE_WEBSOCKET_SERVER_ENGINE`, else native where the addon is built, else portable.
   */
  engine?: 'native' | 'portable'
  /**
   * Serve TLS (`wss:` and `https:`); an array has one entry for each certificate, the default first. Default:
   * plain text.
   */
  tls?: TlsOptions | readonly TlsOptions[]
  /**
   * Expect the PROXY protocol, version 2, on every connection, before TLS and HTTP;
   * `ServerRequest.proxiedAddress` then is what the proxy says is the client's address. A connection is cut
   * that begins with anything else (version 1 too), whose header is larger than 16 KiB, or does not come
   * within 10 seconds. Only for a port that nobody but the proxy can reach: whoever can may claim any
   * address. Default false: a PROXY header is then answered with 400.
   */
  proxyProtocol?: boolean
  /**
   * Answer GET (and HEAD) on this path with 200 and `{"status":"healthy"}`, or with 503:
   * `{"status":"closing"}` while the server closes, `{"status":"unhealthy"}` when `check` gives false. A
   * check that throws or rejects, or gives anything else, is unhealthy too, and goes to `onError`. It is
   * asked for each request, and takes as long as it takes. A GET route of your own on this path comes first.
   * `false` turns it off. Default `'/health'`.
   */
  health?: false | string | { path?: string; check: () => Awaitable<boolean> }
  /**
   * WebSocket connections that may be open at once, upgrades under way included: beyond that, an upgrade is
   * answered 503. HTTP requests are not limited. 1 to 2^31-1. Default: no limit of the server's own.
   */
  maxConnections?: number
  /**
   * Of those connections, how many may come from one address: beyond that, an upgrade is answered 503, before
   * any handler is asked. An IPv6 address counts as its first 64 bits, which is what one subscriber has (RFC
   * 6177), an IPv4 address written as IPv6 as that IPv4 address.
   *
   * With `proxyProtocol` it is the address that the proxy tells. A reverse proxy that speaks HTTP only, such
   * as nginx, is one address for all its clients: limit them there, or in `upgrade`. Clients of a unix
   * socket, and those whose proxy names no address, are not limited here. Remember that many people may share
   * one IPv4 address, behind the router of a company or a mobile carrier. 1 to 2^31-1. Default: no limit.
   */
  maxConnectionsPerAddress?: number
  /**
   * Who may open a WebSocket: others are answered 403. This keeps pages of other sites from using what your
   * users' browsers know (RFC 6455, section 10.2); it is no protection from other programs, which send
   * whatever Origin they like.
   *
   * A list names origins exactly, like `'https://example.com'` or `'http://localhost:5173'`: scheme, host,
   * and the port where it is not the scheme's own, in any case; `'null'` is what sandboxed pages send. With a
   * list, a client that sends no Origin is refused too: browsers always send one, most other programs do not.
   * To let those in, give a function: it gets the header as sent, undefined when there is none, and must
   * return true or false at once. What it throws gives the client 500, and goes to `onError`.
   *
   * Default: everybody.
   */
  allowedOrigins?: readonly string[] | ((origin: string | undefined) => boolean)
  /** Carries what is published here to other processes, and theirs to here. Default: none. */
  backplane?: Backplane
  /**
   * Bytes of an HTTP request's body, 0 to 2^31-1. A longer one is answered with 413: at once when its
   * Content-Length says so, else when the handler reads past the limit, which rejects with
   * ERR_BODY_TOO_LARGE. Default 1 MiB.
   */
  maxRequestBodySize?: number
  /**
   * Seconds for a whole HTTP request, head and body, from its first byte on: 0 to 2,147,483, 0 for no limit.
   * A request that takes longer is answered with 408, unless its answer has begun, and its connection ends
   * within a second or two, also when the rest of the body is only thrown away because the answer was given
   * before. Time in which the handler does not read counts too: raise this for uploads that take longer. Time
   * between requests, and for the answer, does not count. WebSockets have `idleTimeout` and `maxLifetime`
   * instead. Default 300.
   */
  requestTimeout?: number
  /**
   * Called with what no socket can be blamed for. Default: rethrown as an uncaught exception, but for EMFILE
   * (no descriptor is left for new clients), which becomes a process warning.
   */
  onError?(error: Error): void
}

/**
 * Carries published messages between servers, in whatever way: a message broker, a database, sockets. One
 * object serves one server.
 *
 * What it hands to `deliver` is published to this server's own subscribers, and not to the backplane again.
 * It must not be what this server has published, which its subscribers have already. Order is kept as far as
 * the backplane keeps it.
 */
export interface Backplane {
  /**
   * Called once, by `WebSocketServer.listen`, which opens its port when this has resolved, and rejects with
   * ERR_BACKPLANE when it throws or rejects; the next `listen` then calls it again. `deliver` may be called
   * from then on until `close`, afterwards it does nothing. `isBinary` says what subscribers get: text in
   * bytes is decoded, a string that is binary encoded, both as UTF-8. It throws OptionError when an argument
   * is of the wrong kind, with `topic` as in `Socket.subscribe`.
   */
  start(deliver: (topic: string, data: string | Uint8Array, isBinary: boolean) => void): Awaitable<void>
  /**
   * Called with everything that the server or one of its sockets publishes while it listens: a string for
   * text, for binary a Uint8Array with memory of its own, which may be kept, changed or transferred. What it
   * throws or rejects with goes to `onError`, as ERR_BACKPLANE.
   */
  publish(topic: string, data: string | Uint8Array, isBinary: boolean): Awaitable<void>
  /**
   * Called once, by `WebSocketServer.close`, when the last `close` handler has run, and awaited there however
   * long it takes. Not called when `start` was not or has failed; called while `start` is under way when that
   * is when the server closes. What it throws or rejects with goes to `onError`, as ERR_BACKPLANE.
   */
  close(): Awaitable<void>
}

/** How a server closes. */
export interface CloseOptions {
  /** Sent to every client, as in `Socket.close`. Default 1001, going away (RFC 6455, section 7.4.1). */
  code?: number
  /** At most 123 bytes of UTF-8. Default empty. */
  reason?: string
  /** Milliseconds for clients and unanswered requests before they are cut: 0 to 2^31-1. Default 10,000. */
  timeout?: number
}
