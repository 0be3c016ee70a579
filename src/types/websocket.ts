/** WebSocket routes: how they accept, compress, limit, and tell their handlers. */
import type { Buffer } from 'node:buffer'
import type { Awaitable } from './common.js'
import type { Socket } from './socket.js'
import type { Handshake, UpgradeRequest } from './upgrade.js'

/** What an `upgrade` or `handshake` handler returns to accept a client. It may have no other members. */
export interface Accept<T> {
  /** Becomes the socket's `data`. */
  data: T
  /**
   * The subprotocol: one of those that the client offered, or none. Subprotocols are tokens: no `/`, blanks,
   * `:`, `@` or quotes.
   */
  protocol?: string | undefined
  /**
   * More headers of the 101 response, with values of printable ASCII: an object (an array gives one header
   * for each of its values, as Set-Cookie needs), a Headers object, or name and value in pairs. The server
   * itself writes Upgrade, Connection, Date, Sec-WebSocket-*, and the headers that frame a body.
   */
  headers?: Iterable<readonly [name: string, value: string]> | Readonly<Record<string, string | readonly string[]>> | undefined
  /** For this connection: 1 to the route's `maxPayloadLength`, which is the default. */
  maxPayloadLength?: number | undefined
  /** For this connection: 1 to the route's `maxBackpressure`, which is the default. */
  maxBackpressure?: number | undefined
  /**
   * For this connection, where the route compresses: `false` for no compression, or CompressionOptions. What
   * they leave out is the route's; a compressor or decompressor is `'shared'`, or no larger than the route's,
   * which is not `'shared'` then. Any `threshold`. Default: the route's.
   */
  compression?: false | CompressionOptions | undefined
}

/**
 * The size of a compressor or decompressor, with the names of µWebSockets. A compressor takes that much
 * memory for each connection: a window of 512 bytes (`'3KB'` and `'4KB'`), 1, 2, 4, 8, 16 or 32 KiB
 * (`'256KB'`), and tables. A decompressor has a window of that size, and takes about 10 KiB more: 2 KiB with
 * `'3KB'`, and with everything from `'32KB'` on 32 KiB, since there are no larger ones.
 */
export type CompressorSize = '3KB' | '4KB' | '8KB' | '16KB' | '32KB' | '64KB' | '128KB' | '256KB'

/**
 * How one WebSocket route compresses. A client may ask for smaller windows, or for no context takeover, and
 * gets it.
 */
export interface CompressionOptions {
  /**
   * `'shared'`: one compressor serves all connections and forgets each message, so that a published message
   * is compressed once for all subscribers. A size: each connection has a compressor of its own, which
   * remembers earlier messages: better where messages resemble each other and are short. Default `'shared'`.
   */
  compressor?: 'shared' | CompressorSize
  /**
   * What clients compress with: `'shared'` makes clients forget each message too, a size lets a client
   * remember earlier messages, if the client can keep to a window of that size (otherwise as with
   * `'shared'`). Default `'shared'`.
   */
  decompressor?: 'shared' | CompressorSize
  /**
   * Messages of this many bytes or more are compressed when `send` or `publish` does not say. 0 to 2^31-1.
   * Default 1024: compression gains little for shorter messages.
   */
  threshold?: number
}

/** Pings at a fixed interval: `sendPings` of WebSocketHandlers. */
export interface PingOptions {
  /**
   * Seconds, 0.01 to 86,400, fractions included: from the opening of a connection to its first Ping, and from
   * each Ping to the next; never less, and more only by the time that the event loop is late. No Ping is sent
   * while bytes wait for the client (`bufferedAmount`), so that Pings do not pile up, nor while the
   * connection is closing.
   */
  interval: number
}

/**
 * How much one client may send. Time is counted in windows of `seconds`: the first window begins with the
 * client's first message, each other window when the one before is over. In each window the client may send
 * `messages` messages, and `bytes` bytes of messages; the number that is left out is not limited, but one of
 * the two must be given. Messages count when they are whole, with the bytes of `Metrics.bytesReceived`. Pings
 * and Pongs do not count.
 */
export interface RateLimit {
  /** 1 to 2^31-1. */
  messages?: number
  /** 1 to 2^31-1. */
  bytes?: number
  /** 0.01 to 86,400. */
  seconds: number
  /**
   * What the server does to a client that sends more.
   *
   * `'pause'`: the client has to wait, as by `Socket.pause`, until the next window. No message is lost, and
   * the order stays. A message that is longer than `bytes` is delivered at the beginning of a window, and
   * uses up as many windows as it needs. During the pause the server hears nothing from the client but a
   * reset: it learns that the client has closed or ended the connection when the pause is over. Messages that
   * had been read before a reset are delivered at once. A `pause` of yours goes on beyond the limit's pause,
   * and `resume` does not shorten the limit's.
   *
   * `'close'`: the connection is closed with 1008 and `rate limit exceeded`, in place of the first message
   * too many. Messages before that one are delivered; a message longer than `bytes` is always too much. While
   * you have the client wait (`pause`, an adapter), the client may send as much as the limit allows for that
   * time, and all of it may be delivered at once afterwards. The network, or a busy event loop, can bring
   * messages at once that were sent one by one: leave room for that.
   */
  action: 'pause' | 'close'
}

/**
 * The handlers and limits of one WebSocket route. When a handler throws or rejects, `error` gets the error,
 * and the socket is closed with 1011; no other socket is affected. Handlers other than `upgrade` may return
 * anything: only a promise is looked at, for its rejection.
 */
export interface WebSocketHandlers<T, P extends string = string> {
  /**
   * Decides about a client that asks for a connection: `{ data }` accepts the client, a Response refuses it,
   * and the result may be a promise of either. Write `upgrade` first among the handlers, so that TypeScript
   * finds the type of `data` here. When the client goes away meanwhile, `request.signal` aborts, and the
   * result is ignored. When `upgrade` throws or rejects, the client gets 500 and `onError` the error;
   * likewise for a result that is neither (TypeError), a protocol that was not offered, a header that cannot
   * be sent, and a limit beyond the route's (OptionError).
   *
   * Frames that a client sends before it is accepted, against RFC 6455, are kept, up to 64 KiB. From a client
   * that sends more, the native engine reads no further until the client is accepted; the portable engine
   * cuts the connection.
   *
   * Default: every well-formed handshake is accepted, without a subprotocol.
   */
  // `data` stands here once more so that the compiler's message about a wrong result names it.
  upgrade?(request: UpgradeRequest<P>): Awaitable<({ data: T } & Accept<T>) | Response>
  /**
   * As `upgrade`, in whose place it stands, for what a web-standard Request is not needed for: looking at a
   * cookie, for example. A handshake then costs little more than one without any such handler, where a
   * Request costs more than all the rest of the handshake.
   */
  handshake?(handshake: Handshake<P>): Awaitable<({ data: T } & Accept<T>) | Response>
  /** The handshake is done: from here on `socket` can send and subscribe. */
  open?(socket: Socket<T>): unknown
  /** A whole message: text as `text` says, binary as a Buffer that may be kept. */
  message?(socket: Socket<T>, message: string | Buffer, isBinary: boolean): unknown
  /**
   * Called after `send` returned -1, when the queue is empty; after 0, when the queue has room again. Also
   * when the last of what waits for a socket that is closing has been given to the kernel.
   */
  drain?(socket: Socket<T>): unknown
  /**
   * A message to this client, sent or published, that was not taken because its queue would have exceeded
   * `maxBackpressure`. Called in a later turn of the event loop, unless the connection has ended by then. A
   * binary `message` is the bytes that were given to `send`, or a copy that several sockets share: do not
   * change it. To send the message again from here would most likely have it dropped again: `drain` is called
   * when there is room.
   */
  dropped?(socket: Socket<T>, message: string | Buffer, isBinary: boolean): unknown
  /** The client sent a Ping; the Pong is sent for you, unless `autoPong` is false. */
  ping?(socket: Socket<T>, data: Buffer): unknown
  /**
   * The client sent a Pong: the answer to a Ping of yours or of `sendPings`, or an unsolicited one (RFC 6455,
   * section 5.5.3). A Pong is unsolicited when no Ping with the same bytes waits for its answer. Each Pong
   * answers the Pings before that one, too; of those that wait, the last 16 are known.
   */
  pong?(socket: Socket<T>, data: Buffer, isUnsolicited: boolean): unknown
  /**
   * The socket subscribes to a topic, or no longer does: called before `subscribe` or `unsubscribe` returns,
   * and with each topic that the socket leaves by `close`, `terminate` or the end of the connection, before
   * the `close` handler. `before` and `subscribers` count all sockets of the server on that topic, before and
   * after this one change: `before` is 0 for the first subscriber, and `subscribers` is 0 when the last one
   * has left; within the handler, `WebSocketServer.subscribers` says the same. This handler costs nothing on
   * a server on which no route has it.
   */
  subscription?(socket: Socket<T>, topic: string, subscribers: number, before: number): unknown
  /**
   * The connection has ended: with the code and reason of the peer's Close frame (1005 when it had none),
   * with the code of the error that this server has found (1002, 1007, 1009), or with 1006 when there was no
   * closing handshake. `wasClean` tells them apart: true when code and reason are those of the peer's Close
   * frame, which may say 1002, 1007 or 1009 as well; false when the code is of an error found here, or 1006.
   */
  close?(socket: Socket<T>, code: number, reason: string, wasClean: boolean): unknown
  /** Called with the error that a handler threw or rejected with. Default: the server's `onError`. */
  error?(error: unknown, socket: Socket<T>): unknown

  /**
   * How the `message` handler, and the adapters, get text: as a string, or as a Buffer with its UTF-8, for
   * programs that would only encode the string again. Default `'string'`.
   */
  text?: 'string' | 'buffer'
  /**
   * Lend binary messages to the `message` handler instead of giving them to it: a long one then lies in
   * memory that the server uses again as soon as the handler has returned (an asynchronous one: at its first
   * `await`), and so costs no memory of its own. Long are messages of more than 2 KiB. Inside of the handler
   * the message may be read, sent and published; what is to be kept, `Buffer.from(message)` copies. `send`
   * of 16 KiB or more without TLS and compression copies nothing, where nothing waits for that connection,
   * it has no topics, and the kernel takes it all; a shorter message is copied once, into its frame. Beside
   * the message, `message.buffer` has bytes of other clients. Adapters, and handlers of a paused socket or of
   * one with a `rateLimit`, get copies. The portable engine lends nothing. With the variable
   * `NATIVE_WEBSOCKET_SERVER_OVERWRITE_LENT=1`, for development, lent messages are overwritten with 0xff when
   * their handlers have returned.
   *
   * `'detach'` lends short messages too, and text where it comes as bytes. `message.buffer` has no other
   * bytes, and is detached when the handlers of the turn have returned, before any promise job: what was kept
   * by mistake has the length 0 then. Messages of one turn may share that memory. With the variable above it
   * is detached as soon as each handler has returned. Default false.
   */
  lendMessages?: boolean | 'detach'
  /**
   * Bytes of one received message, after decompression, before the connection ends with 1009. 1 to 2^31-1.
   * Default 16 MiB.
   */
  maxPayloadLength?: number
  /**
   * Bytes that may wait for one client (`bufferedAmount`). While bytes wait, a message that would exceed this
   * number is not taken, and `send` returns 0; where no bytes wait, a message of any length is taken. 1 to
   * 2^31-1. Default 16 MiB.
   */
  maxBackpressure?: number
  /**
   * Cut a client when a message for it cannot be taken, after `dropped` was called: as `terminate` does,
   * since the client would not read a Close frame. Default false.
   */
  closeOnBackpressureLimit?: boolean
  /**
   * Seconds of silence before the connection is dropped: 0 (never) or 8 to 960. A client is silent that sends
   * nothing; while bytes wait for a client, its reading counts as a sign of life too. The connection is never
   * dropped earlier, and at most one step of the engine's clock later: 4 seconds on the native engine, 1 on
   * the portable engine. Default 120.
   */
  idleTimeout?: number
  /**
   * Seconds after which a connection, active or not, is closed with 1000 and `maximum lifetime reached`: 0
   * (never) or 60 to 14,400. Default 0.
   */
  maxLifetime?: number
  /**
   * `true`: Ping 4 to 16 seconds before the idle timeout strikes, so that a client which answers stays. `{
   * interval }`: also Ping at that interval, whatever is sent and received, even with `idleTimeout: 0`.
   * `false`: no Pings of the server's own. Default true.
   */
  sendPings?: boolean | PingOptions
  /**
   * Answer each Ping of a client with a Pong. `false` leaves that to the `ping` handler, with
   * `socket.pong(data)`: RFC 6455, section 5.5.2, demands an answer. Default true.
   */
  autoPong?: boolean
  /**
   * How much each client may send before it has to wait or is closed. Default: no limit but that of a turn
   * (docs/limits.md).
   */
  rateLimit?: RateLimit
  /**
   * Compress messages (permessage-deflate, RFC 7692) for clients that can: all browsers, and most other
   * clients. Compression costs processor time and, unless compressor and decompressor are `'shared'`, memory
   * for each connection. Default false; `{}` takes all defaults of CompressionOptions.
   */
  compression?: false | CompressionOptions
}
