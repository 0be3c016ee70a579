/** Options of a server, its backplane, and options of its `close`. */
import type { BackplaneEngine } from '../backplane/contract.js'
import type { Awaitable } from './common.js'
import type { TlsOptions } from './tls.js'

/**
 * Options of a server. The constructor checks them: a wrong option is an OptionError that names the option.
 */
export interface ServerOptions {
  /**
   * `'native'` or `'portable'`. When the engine named here cannot be loaded, the constructor throws
   * EngineError. Default: the environment variable `NATIVE_WEBSOCKET_SERVER_ENGINE`, else native where the
   * addon is built, else portable.
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
   * when it begins with anything else (version 1 too), when its header is larger than 16 KiB, or when the
   * header does not come within 10 seconds. Use this only on a port that nothing but the proxy can reach: any
   * client that reaches the port directly can claim any address. Default false: the response to a PROXY
   * header is then 400.
   */
  proxyProtocol?: boolean
  /**
   * Respond to GET (and HEAD) on this path with 200 and `{"status":"healthy"}`, or with 503:
   * `{"status":"closing"}` while the server closes, `{"status":"unhealthy"}` when `check` gives false. A
   * check that throws or rejects, or gives anything but a boolean, is unhealthy too, and its error goes to
   * `onError`. The server calls `check` for each request, without a time limit. With `backplane: true`, the
   * server is unhealthy also while its backplane is down. A GET route of your own on this path comes first.
   * `false` turns the health paths off. Default `'/health'`.
   *
   * This path tells balancers whether to send clients here (readiness): with `close({ drain })` it answers
   * 503 and `{"status":"draining"}` before any client is sent away. Whether the process works at all
   * (liveness) is another question: the path `live` always answers 200 and `{"status":"alive"}`, without
   * `check`, also while the server drains and closes. An orchestrator restarts a process that does not
   * answer there. Default of `live`: `/live` behind the health path, so `'/health/live'`; `false` for none.
   */
  health?: false | string | { path?: string; live?: false | string; check?: () => Awaitable<boolean>; backplane?: boolean }
  /**
   * WebSocket connections that may be open at once, upgrades under way included: beyond that number, the
   * response to an upgrade is 503. HTTP requests are not limited. 1 to 2^31-1. Default: no limit of the
   * server's own.
   */
  maxConnections?: number
  /**
   * Of those connections, how many may come from one address: beyond that number, the response to an upgrade
   * is 503, and no handler is called. An IPv6 address counts as its first 64 bits, since one subscriber has
   * all addresses of such a network (RFC 6177); an IPv4 address written as IPv6 counts as the IPv4 address.
   *
   * With `proxyProtocol` the address is that which the proxy tells. A reverse proxy that speaks HTTP only,
   * such as nginx, is one address for all its clients: limit the clients in the proxy, or in `upgrade`.
   * Clients of a unix socket, and those whose proxy names no address, are not limited here. Remember that
   * many people may share one IPv4 address, behind the router of a company or a mobile carrier. 1 to 2^31-1.
   * Default: no limit.
   */
  maxConnectionsPerAddress?: number
  /**
   * Pages of which origins may open a WebSocket: the response to others is 403. This option keeps pages of
   * other sites from using the cookies of your users' browsers (RFC 6455, section 10.2); it is no protection
   * from programs other than browsers, which can send any Origin.
   *
   * A list names origins exactly, like `'https://example.com'` or `'http://localhost:5173'`: scheme, host,
   * and the port where it is not the scheme's default, in upper or lower case; sandboxed pages send `'null'`.
   * With a list, a client that sends no Origin is refused too: browsers always send an Origin, most other
   * programs do not. To accept those programs, give a function: it gets the header as sent, undefined when
   * there is no Origin, and must return true or false at once. When the function throws, the client gets 500
   * and `onError` the error.
   *
   * Default: clients with any Origin or none may open one.
   */
  allowedOrigins?: readonly string[] | ((origin: string | undefined) => boolean)
  /**
   * Carries messages that are published here to other servers, and their messages to this one: what
   * `native-websocket-server/redis`, `/nats` or `/threads` make, or an engine of your own. One object serves
   * one server: OptionError for one that another server has, or has had. When it goes down, and when messages
   * were lost, `onError` gets one BackplaneError; without `onError` that is a process warning. Objects of the
   * type Backplane are deprecated. Default: none.
   */
  backplane?: BackplaneEngine | Backplane
  /**
   * Bytes of an HTTP request's body, 0 to 2^31-1. The response to a longer body is 413: at once when its
   * Content-Length says so, else when the handler reads past the limit, and its read rejects with
   * ERR_BODY_TOO_LARGE. Default 1 MiB.
   */
  maxRequestBodySize?: number
  /**
   * Seconds for a whole HTTP request, head and body, from its first byte on: 0 to 2,147,483, 0 for no limit.
   * The response to a request that takes longer is 408, unless another response has begun, and the connection
   * ends within a second or two, also when the rest of the body is only thrown away because the response was
   * given before. Time in which the handler does not read counts too: raise this for uploads that take
   * longer. Time between requests, and for the response, does not count. WebSockets have `idleTimeout` and
   * `maxLifetime` instead. Default 300.
   */
  requestTimeout?: number
  /**
   * Called with errors that belong to no socket. Default: they become uncaught exceptions, but for EMFILE (no
   * descriptor is left for new clients) and what happens to a backplane after its start, which become process
   * warnings.
   */
  onError?(error: Error): void
}

/**
 * Deprecated, and to go with the next release: use `native-websocket-server/redis`, `/nats` or `/threads`, or
 * write a BackplaneEngine. The first server with one emits a DeprecationWarning.
 *
 * Carries published messages between servers: through a message broker, a database, sockets. One object
 * serves one server.
 *
 * A message that the backplane hands to `deliver` goes to this server's own subscribers, and not to the
 * backplane again. It must not be a message that this server has published, since its subscribers have that
 * message already. Order is kept as far as the backplane keeps order.
 */
export interface Backplane {
  /**
   * Called once, by `WebSocketServer.listen`, which opens its port when `start` has resolved, and rejects
   * with ERR_BACKPLANE when `start` throws or rejects; the next `listen` then calls `start` again. `deliver`
   * may be called from this call on; after `close`, `deliver` does nothing. `isBinary` says what subscribers
   * get: bytes of a text message are decoded, a string of a binary message is encoded, both as UTF-8.
   * `deliver` throws OptionError when an argument is of the wrong kind, with `topic` as in
   * `Socket.subscribe`.
   */
  start(deliver: (topic: string, data: string | Uint8Array, isBinary: boolean) => void): Awaitable<void>
  /**
   * Called with everything that the server or one of its sockets publishes while the server listens: a string
   * for text, for binary a Uint8Array with memory of its own, which may be kept, changed or transferred. When
   * `publish` throws or rejects, `onError` gets ERR_BACKPLANE.
   */
  publish(topic: string, data: string | Uint8Array, isBinary: boolean): Awaitable<void>
  /**
   * Called once, by `WebSocketServer.close`, when the last `close` handler has run; the server's `close`
   * awaits it without a time limit. Not called when `start` was not called or has failed; called while
   * `start` is under way if the server closes then. When `close` throws or rejects, `onError` gets
   * ERR_BACKPLANE.
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
  /**
   * Milliseconds in which the server goes on as before, but for its health path, which answers 503: 0 to
   * 2^31-1. Balancers see that, and send new clients elsewhere; only then does the server stop accepting and
   * close its connections, for which `timeout` counts from there on. Give as many milliseconds as the
   * balancer needs to find out, the interval of its checks times the failures that it wants, and a second
   * more. `true` stands for 10,000: HAProxy needs 6,000 by its own defaults. A further call of `close`
   * without `drain` ends this time at once. Default `false`: closes at once.
   */
  drain?: boolean | number
}
