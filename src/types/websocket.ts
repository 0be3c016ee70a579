/** WebSocket routes: how they accept, compress, limit, and tell their handlers. */
import type { Buffer } from 'node:buffer'
import type { Awaitable } from './common.js'
import type { ServerRequest } from './http.js'
import type { Socket } from './socket.js'

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
