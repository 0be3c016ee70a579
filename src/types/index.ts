/**
 * The types of the public interface. Docstrings here are what docs/api.md is made of (`npm run docs`). Long
 * because whoever uses the package finds all that is offered in one place.
 */
import type { Buffer } from 'node:buffer'
import type { TlsOptions } from './listen.js'

export * from './listen.js'

/** What can be sent: a string goes out as text (UTF-8), bytes as binary. */
export type Data = string | ArrayBuffer | ArrayBufferView
/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>

/** The parameters in a route's path: `/chat/:room` gives `{ room: string }`. */
export type Params<P extends string> = string extends P
  ? Record<string, string>
  : P extends `${string}:${infer K}/${infer R}`
    ? { [k in K]: string } & Params<R>
    : P extends `${string}:${infer K}`
      ? { [k in K]: string }
      : // An empty object type is what "no parameters" means here.
        // biome-ignore lint/complexity/noBannedTypes: see above
        {}

/** Answers of `Socket.send` other than a number of bytes, which is greater than 0. */
export const SendStatus = {
  /** Taken, and waiting behind earlier bytes that the client has not read yet. A `drain` event follows. */
  BACKPRESSURE: -1,
  /**
   * Not taken: the socket is not open, or something waits for it and its queue would exceed
   * `maxBackpressure`.
   */
  DROPPED: 0,
} as const

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

/**
 * What a server has counted since it was made, over all its calls of `listen`; plain numbers that only grow,
 * but for `connectionsOpen`. "Bytes" are those of messages' payloads: text as UTF-8, before compression,
 * without the heads of WebSocket frames.
 */
export type Metrics = {
  /** TCP connections accepted, for WebSocket and HTTP alike, whatever became of them. */
  readonly tcpConnections: number
  /** WebSocket connections accepted: handshakes completed. */
  readonly connectionsAccepted: number
  /** WebSocket connections that have not ended: `connectionsAccepted` less `connectionsClosed`. */
  readonly connectionsOpen: number
  /** WebSocket connections that have ended, in whatever way. */
  readonly connectionsClosed: number
  /**
   * Requests for a WebSocket connection that were answered otherwise: the next four, and malformed ones,
   * unknown paths, a closing server.
   */
  readonly upgradesRefused: number
  /** Of `upgradesRefused`: because of `allowedOrigins`. */
  readonly upgradesRefusedByOrigin: number
  /** Of `upgradesRefused`: because of `maxConnections`. */
  readonly upgradesRefusedByLimit: number
  /** Of `upgradesRefused`: because of `maxConnectionsPerAddress`. */
  readonly upgradesRefusedByAddress: number
  /** Of `upgradesRefused`: by the route's `upgrade` handler, which answered with a Response or failed. */
  readonly upgradesRefusedByHandler: number
  /** HTTP requests, other than those for a WebSocket connection. The health path's count too. */
  readonly httpRequests: number
  /** How often a client was made to wait by a `rateLimit`. */
  readonly rateLimitPauses: number
  /** WebSocket connections that a `rateLimit` has closed. */
  readonly rateLimitCloses: number
  /** Messages received whole, from all clients. Pings and pongs are no messages. */
  readonly messagesReceived: number
  /** Bytes of the payloads in `messagesReceived`. */
  readonly bytesReceived: number
  /**
   * Messages taken for a client: those of `send` that were not answered with 0, and published ones once for
   * each subscriber. One of many pieces counts with its last piece, and its bytes as they go.
   */
  readonly messagesSent: number
  /** Bytes of the payloads in `messagesSent`. */
  readonly bytesSent: number
  /**
   * Messages not taken for an open connection, sent or published, because its queue would have exceeded
   * `maxBackpressure`.
   */
  readonly messagesDropped: number
  /** What handlers of WebSocket and HTTP routes threw or rejected with. */
  readonly handlerErrors: number
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

/**
 * The HTTP request: a web-standard Request, for whatever takes one, with what a route adds. It is a copy,
 * valid for as long as it is kept.
 *
 * The body is read as it comes. While nobody reads, the client is not read either after the first 64 KiB, and
 * its leaving is not noticed before reading goes on. After the answer, a body of up to 64 KiB can still be
 * read, and whoever reads a longer one already goes on; anything else is thrown away. A GET or HEAD has no
 * body here, as in the Fetch standard: one that is sent is thrown away.
 */
export interface ServerRequest<P extends string = string> extends Request {
  /** As sent, for example `GET`. */
  readonly method: string
  /**
   * Absolute: scheme, host, `path` and query, as `new URL` writes them. The host is that of a target in
   * absolute form, else the Host header; `localhost` where that is empty or missing. It never changes the
   * path: a Host that is no `host` or `host:port` is answered with 400.
   */
  readonly url: string
  /**
   * The path in the form that routes are compared with, the same as the `pathname` of `url`. It is
   * percent-encoded where RFC 3986 asks for that, in upper case; letters, digits and `-_.~!'()*` never are;
   * `.` and `..` segments are resolved (`/a/%2e%2E/b` is `/b`). A target with a backslash or `#` in its path,
   * with a `%` that encodes nothing, or with bytes beyond ASCII is answered with 400.
   */
  readonly path: string
  /** The route's parameters, segments of `path`, percent-decoded. */
  readonly params: Params<P>
  /** What follows the `?`, parsed. */
  readonly query: URLSearchParams
  /** The header fields, as a web-standard Headers object. */
  readonly headers: Headers
  /** Numeric address of the peer, which may be a proxy. Empty on a unix socket. */
  readonly remoteAddress: string
  /**
   * Numeric address of the client behind a proxy, with the option `proxyProtocol`. `undefined` without it,
   * and where the proxy names no address of TCP: for its own health checks (LOCAL), for clients on a unix
   * socket.
   */
  readonly proxiedAddress?: string
  /**
   * Aborts when the client goes away before the whole answer was given, or before its body has come whole. A
   * clone's does not.
   */
  readonly signal: AbortSignal
  /**
   * The body as it comes; null when there is none. Errors with the signal's reason when the client goes away.
   */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>> | null
  /**
   * The whole body, decoded as UTF-8. This and the next reject with a TypeError when the body was read
   * before, with ERR_BODY_TOO_LARGE beyond `maxRequestBodySize` (a handler that lets it pass has the client
   * told 413), and with the signal's reason when the client goes away.
   */
  text(): Promise<string>
  /**
   * The whole body as JSON; rejects with a SyntaxError when it is none. The type is the caller's claim:
   * nothing checks it.
   */
  json<T = unknown>(): Promise<T>
  /** The whole body as bytes. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>
}

/** The request for a WebSocket connection: a copy, so that it stays valid across `await`. */
export interface UpgradeRequest<P extends string = string> extends ServerRequest<P> {
  /** The Origin header as sent. Browsers always send one, other clients need not. */
  readonly origin: string | undefined
  /**
   * The subprotocols that the client offered, in its order of preference. They are tokens (RFC 9110, section
   * 5.6.2): a client that offers something else, like `v1/a` or `a b`, or the same one twice, is answered
   * with 400 (RFC 6455, section 4.1).
   */
  readonly protocols: readonly string[]
}

/** What an `upgrade` handler returns to accept. It may have no other members. */
export interface Accept<T> {
  /** Becomes the socket's `data`. */
  data: T
  /**
   * The subprotocol: one of those that the client offered, or none. A token, as they all are: no `/`, blanks,
   * `:`, `@` or quotes.
   */
  protocol?: string | undefined
  /**
   * More headers of the answer, with values of printable ASCII: an object (an array gives one header for each
   * of its values, as Set-Cookie needs), a Headers object, or name and value in pairs. Upgrade, Connection,
   * Date, Sec-WebSocket-* and what frames a body are the server's own.
   */
  headers?: Iterable<readonly [name: string, value: string]> | Readonly<Record<string, string | readonly string[]>> | undefined
}

/**
 * Answers one HTTP request. A body that is there at once is sent with its length; any other as it comes, as
 * fast as the client reads, and cancelled when the client goes away. A handler that throws or rejects gives
 * the client 500 and the error to `onError`; so does a body that fails before its answer has begun, later the
 * connection is cut instead.
 *
 * A stream with a `content-length` is sent with it, rather than in chunks; of its last byte the client is
 * kept waiting until the stream has ended. A body of another length is ERR_CONTENT_LENGTH, which ends the
 * connection: with 500, or in the middle of the answer. For HEAD and 304 the field is sent as it is; 204 has
 * none, and 205 says 0. `date` replaces the server's. Connection, Keep-Alive, Trailer and Transfer-Encoding
 * are left out: they are the server's own.
 *
 * What `fetch` gives can be returned as it is: content is sent as `fetch` has decoded it (gzip, deflate, br,
 * and zstd where `fetch` does), without the fields that describe it encoded (Content-Encoding,
 * Content-Length, digests), and without those of the other connection (RFC 9110, section 7.6.1). Such a
 * Response is told by its `url`. One made with `new Response` is taken at its word: leave `content-encoding`
 * and `content-length` out when you give it the `body` and `headers` of a fetched one.
 */
export type RouteHandler<P extends string> = (request: ServerRequest<P>) => Awaitable<Response>

/**
 * One WebSocket connection: one stable object, from `open` to `close` and beyond. Every call on it is safe at
 * any time.
 */
export interface Socket<T = undefined> {
  /**
   * Yours: whatever belongs to this connection. At first what `upgrade` has accepted it with; `undefined`
   * without that handler.
   */
  data: T
  /** Unique among all connections of all processes, and not guessable from another's. */
  readonly id: string
  /** As in the WHATWG WebSocket interface: 1 open, 2 closing, 3 closed. */
  readonly readyState: 1 | 2 | 3
  /** The subprotocol that `upgrade` has chosen, or empty. */
  readonly protocol: string
  /** Numeric address of the peer; stays readable after the close. Empty on a unix socket. */
  readonly remoteAddress: string
  /** When the connection was accepted: milliseconds since the Unix epoch. */
  readonly connectedAt: number
  /** Bytes that `send` has taken and that were not yet given to the kernel. */
  readonly bufferedAmount: number
  /** The topics subscribed to, in no particular order. Empty once closed. */
  readonly topics: readonly string[]

  /**
   * Sends one message. Returns the number of payload bytes (1 for an empty message) when it was taken,
   * `SendStatus.BACKPRESSURE` (-1) when it waits behind earlier bytes, or `SendStatus.DROPPED` (0) when it
   * was not taken. `compress` chooses whether to compress it, where compression was agreed on with the
   * client; without it, the route's `threshold` does. A message's bytes, here and where it is measured
   * against `maxBackpressure`, are those before compression. Throws OptionError when `data` is neither a
   * string nor bytes, or longer than 2^31-11 bytes, or `compress` is no boolean.
   */
  send(data: Data, compress?: boolean): number
  /**
   * Sends one message made of many chunks, as fragments, and takes no more chunks than the client reads: what
   * is in memory is one chunk and one fragment (at most 64 KiB). Resolves when the last bytes are on their
   * way. The message is text if the first chunk is a string; `binary` decides otherwise. Strings go into
   * binary messages as UTF-8; bytes in text messages must be UTF-8; both may be cut anywhere. Without chunks
   * it is an empty message (of text). Streams of one socket take turns in the order of the calls. What is
   * sent or published meanwhile waits behind them, and counts in `bufferedAmount` and for `maxBackpressure`,
   * of which up to 64 KiB are kept free for fragments; `ping` and `close` do not wait.
   *
   * A message of which something was sent cannot be taken back: when the source fails, gives something else
   * than Data or bytes that are not UTF-8, or when the signal aborts, the connection ends with 1011. Before
   * that, nothing happens to it. The promise rejects with the source's error, the signal's reason,
   * OptionError, or ERR_CLOSED when the socket is closed, or starts to close, meanwhile. Then the source is
   * told to stop: a stream of Node's is destroyed, the `return` of another's iterator called.
   */
  sendStream(source: AsyncIterable<Data>, options?: SendStreamOptions): Promise<void>
  /**
   * Resolves when `bufferedAmount` is at most `threshold` bytes: 0 (the default) to 2^31-1. Any number may
   * wait. Rejects with ERR_CLOSED when the socket is closed, or starts to close, before that; with the
   * signal's reason when that aborts; with OptionError.
   */
  drained(options?: DrainedOptions): Promise<void>
  /**
   * Calls back at once, and returns what the callback does; what it sends to this socket leaves in as few
   * writes as possible. Calls may be nested. Of an asynchronous callback, only what runs before its first
   * `await` is put together.
   */
  cork<R>(callback: (socket: this) => R): R
  /**
   * Stops reading from this client, so that it must wait: no message, ping or pong reaches a handler until
   * `resume`. What had been read already is kept, no more than one read of the network brings. Meanwhile the
   * client is not heard in any way: its silence is no reason to drop it (`idleTimeout`), and that it has
   * closed or gone shows only after `resume`, or when something cannot be written to it. If the connection
   * ends meanwhile, what was kept is delivered first. `close` and `terminate` end the pause.
   */
  pause(): void
  /**
   * Ends a pause: what was kept is delivered as soon as the current handler has returned, then reading goes
   * on.
   */
  resume(): void
  /**
   * Sends a Ping frame with up to 125 bytes (RFC 6455, section 5.5.2). Returns what `send` returns; throws
   * OptionError.
   */
  ping(data?: Data): number
  /**
   * Starts the closing handshake; nothing is sent or received afterwards. Code 1000 (the default), 1001-1003,
   * 1007-1014 or 3000-4999 (RFC 6455, section 7.4), a reason of at most 123 bytes of UTF-8; else OptionError.
   * Further calls do nothing.
   */
  close(code?: number, reason?: string): void
  /** Cuts the connection without a handshake: both sides see 1006. */
  terminate(): void

  /**
   * Subscribes to a topic (an exact string of 1 to 65,535 bytes, without lone surrogates, else OptionError).
   * False when it already was, or is closed.
   */
  subscribe(topic: string): boolean
  /** False when it was not subscribed. */
  unsubscribe(topic: string): boolean
  /** Whether it subscribes to a topic. Throws OptionError as `subscribe` does. */
  isSubscribed(topic: string): boolean
  /**
   * Sends to the topic's other subscribers, here and behind the backplane; this socket need not subscribe.
   * False when nobody else here subscribes, or this socket is not open. `compress` is as with `send`, for
   * every subscriber here.
   */
  publish(topic: string, data: Data, compress?: boolean): boolean
}

/** How `Socket.sendStream` sends its message. */
export interface SendStreamOptions {
  /** Binary or text. Default: binary if the first chunk is bytes. */
  binary?: boolean
  /** As with `send`; without it, the length of the first chunk decides. */
  compress?: boolean
  /** Ends the stream, and the connection with it if the message has begun. */
  signal?: AbortSignal
}

/** What `Socket.drained` waits for. */
export interface DrainedOptions {
  /** Bytes: 0 to 2^31-1. Default 0. */
  threshold?: number
  /** Ends the wait. */
  signal?: AbortSignal
}

/**
 * The size of a compressor or decompressor, with the names of µWebSockets. A compressor takes that much
 * memory for each connection: a window of 512 bytes (`'3KB'` and `'4KB'`), 1, 2, 4, 8, 16 or 32 KiB
 * (`'256KB'`), and tables. A decompressor has a window of that size, and takes about 10 KiB more: 2 KiB with
 * `'3KB'`, and with everything from `'32KB'` on 32 KiB, since there are no larger ones.
 */
export type CompressorSize = '3KB' | '4KB' | '8KB' | '16KB' | '32KB' | '64KB' | '128KB' | '256KB'

/**
 * How one WebSocket route compresses. Clients may ask for less (smaller windows, none kept), and get that.
 */
export interface CompressionOptions {
  /**
   * `'shared'`: one compressor serves all connections and forgets each message, so that a published message
   * is compressed once for all of them. A size: each connection has its own, which remembers earlier
   * messages: better where they resemble each other and are short. Default `'shared'`.
   */
  compressor?: 'shared' | CompressorSize
  /**
   * What clients compress with: `'shared'` makes them forget each message too, a size lets them remember
   * earlier ones, where they can keep to a window of that size (else it is as `'shared'`). Default
   * `'shared'`.
   */
  decompressor?: 'shared' | CompressorSize
  /**
   * Bytes from which on a message is compressed when `send` or `publish` does not say. 0 to 2^31-1. Default
   * 1024: below that there is little to gain.
   */
  threshold?: number
}

/** Pings at a pace of their own: `sendPings` of WebSocketHandlers. */
export interface PingOptions {
  /**
   * Seconds, 0.01 to 86,400, fractions included: from the opening of a connection to its first Ping, and from
   * each Ping to the next; never less, and more only by what the event loop is late. No Ping is sent while
   * bytes wait for the client (`bufferedAmount`), so that they do not pile up, nor while the connection is
   * closing.
   */
  interval: number
}

/**
 * How much one client may send. Time is counted in windows of `seconds`: the first begins with the client's
 * first message, the next ones when the one before is over. In each of them it may send that many messages,
 * and that many bytes of them; what is left open counts as any number, but one of the two is given. Messages
 * count when they are whole, with the bytes of `Metrics.bytesReceived`. Pings and Pongs do not count.
 */
export interface RateLimit {
  /** 1 to 2^31-1. */
  messages?: number
  /** 1 to 2^31-1. */
  bytes?: number
  /** 0.01 to 86,400. */
  seconds: number
  /**
   * What becomes of a client that sends more.
   *
   * `'pause'`: it is made to wait, as by `Socket.pause`, until the next window. Nothing is lost, and the
   * order stays. A message that is longer than `bytes` comes at the begin of a window, and is paid for with
   * as many windows as it needs. Meanwhile the client is not heard: that it closes or has gone shows when the
   * pause is over, or when something cannot be written to it; when it does, what had been read already is
   * delivered at once. A `pause` of yours goes on beyond the limit's, and `resume` does not shorten that.
   *
   * `'close'`: the connection is closed with 1008 and `rate limit exceeded`, in place of the first message
   * too many. What came before is delivered; a message longer than `bytes` is always too much. While you have
   * the client wait (`pause`, an adapter), it is free to send what the limit allows for that time, and may
   * have it delivered at once afterwards. The network, or a loop that was busy, can bring at once what was
   * sent in good order: leave room for that.
   */
  action: 'pause' | 'close'
}

/**
 * The handlers and limits of one WebSocket route. A handler that throws or rejects ends in `error`, and its
 * socket is closed with 1011; nobody else is disturbed.
 */
export interface WebSocketHandlers<T, P extends string = string> {
  /**
   * Decides about a client that asks for a connection: `{ data }` accepts it, a Response refuses it, and a
   * promise of either takes its time. Write it first, so that TypeScript finds the type of `data` here. When
   * the client goes away meanwhile, `request.signal` aborts, and the answer is of no interest to anybody.
   * What it throws or rejects with gives the client 500 and goes to `onError`; likewise an answer that is
   * neither (TypeError), a protocol that was not offered, and a header that cannot be sent (OptionError).
   *
   * Frames that a client sends before it is accepted, against RFC 6455, are kept, up to 64 KiB. One that
   * sends more is read no further until it is accepted (native engine), or cut (portable engine).
   *
   * Default: every handshake that is correct is accepted, without a subprotocol.
   */
  upgrade?(request: UpgradeRequest<P>): Awaitable<Accept<T> | Response>
  /** The handshake is done: `socket` may be sent to and subscribe. */
  open?(socket: Socket<T>): Awaitable<void>
  /** A whole message: text as a string, binary as a Buffer that may be kept. */
  message?(socket: Socket<T>, message: string | Buffer, isBinary: boolean): Awaitable<void>
  /** After `send` answered -1 or 0: the queue is empty, or has room again. */
  drain?(socket: Socket<T>): Awaitable<void>
  /**
   * A message to this client, sent or published, that was not taken because its queue would have exceeded
   * `maxBackpressure`. Called in a later turn of the event loop, unless the connection has ended by then.
   * Bytes are those that were given to `send`, or a copy that several sockets share: not to be changed. To
   * send it again from here would most likely have it dropped again: `drain` tells when there is room.
   */
  dropped?(socket: Socket<T>, message: string | Buffer, isBinary: boolean): Awaitable<void>
  /** The client sent a Ping; the Pong is sent for you. */
  ping?(socket: Socket<T>, data: Buffer): Awaitable<void>
  /**
   * The client sent a Pong: the answer to a Ping of yours or of `sendPings`, or one that nobody asked for.
   */
  pong?(socket: Socket<T>, data: Buffer): Awaitable<void>
  /**
   * The socket subscribes to a topic, or no longer does: called before `subscribe` or `unsubscribe` returns,
   * and with each topic that is left by `close`, `terminate` or the end of the connection, before the `close`
   * handler. `before` and `subscribers` count all sockets of the server on that topic, before and after this
   * one change, so that 0 tells the first one in and the last one out; within the handler,
   * `WebSocketServer.subscribers` says the same. A server on which no route has this handler pays nothing for
   * it.
   */
  subscription?(socket: Socket<T>, topic: string, subscribers: number, before: number): Awaitable<void>
  /**
   * The connection has ended: with the code and reason of the peer's Close frame (1005 when it had none),
   * with the code of the error (1002, 1007, 1009), or with 1006 when there was no closing handshake.
   */
  close?(socket: Socket<T>, code: number, reason: string): Awaitable<void>
  /** What a handler threw or rejected with. Default: the server's `onError`. */
  error?(error: unknown, socket: Socket<T>): void

  /**
   * Bytes of one received message, after decompression, before the connection ends with 1009. 1 to 2^31-1.
   * Default 16 MiB.
   */
  maxPayloadLength?: number
  /**
   * Bytes that may wait for one client (`bufferedAmount`). While some do, a message that would make it more
   * is not taken, and `send` answers 0; where nothing waits, a message of any length is. 1 to 2^31-1. Default
   * 16 MiB.
   */
  maxBackpressure?: number
  /**
   * Cut a client (as `terminate` does, since it would not read a Close frame) when a message cannot be taken
   * for it, after `dropped` was called. Default false.
   */
  closeOnBackpressureLimit?: boolean
  /**
   * Seconds of silence before the connection is dropped: 0 (never) or 8 to 960. A client is silent that sends
   * nothing; while something waits for it, reading counts too. Never dropped earlier, and at most one step of
   * the engine's clock later: 4 seconds on the native engine, 1 on the portable one. Default 120.
   */
  idleTimeout?: number
  /**
   * Seconds after which a connection is closed, whatever it does, with 1000 and `maximum lifetime reached`: 0
   * (never) or 60 to 14,400. Default 0.
   */
  maxLifetime?: number
  /**
   * `true`: Ping 4 to 16 seconds before the idle timeout strikes, so that a client which answers stays. `{
   * interval }`: besides, Ping at that pace, whatever is sent and received, also with `idleTimeout: 0`.
   * `false`: no Pings of the server's own. Default true.
   */
  sendPings?: boolean | PingOptions
  /** How much each client may send, before it has to wait or is closed. Default: no limit but its turn's. */
  rateLimit?: RateLimit
  /**
   * Compress messages (permessage-deflate, RFC 7692) for clients that can: all browsers, and most others. It
   * costs processor time and, unless everything is shared, memory for each connection. Default false; `{}`
   * takes all of CompressionOptions' defaults.
   */
  compression?: false | CompressionOptions
}
