/** One WebSocket connection. */
import type { Data } from './common.js'

/** Results of `Socket.send` other than a number of bytes, which is greater than 0. */
export const SendStatus = {
  /**
   * Taken, and waiting behind earlier bytes that the client has not read yet. The `drain` handler is called
   * later.
   */
  BACKPRESSURE: -1,
  /** Not taken: the socket is not open, or bytes wait for it and its queue would exceed `maxBackpressure`. */
  DROPPED: 0,
} as const

/**
 * One WebSocket connection: one stable object, from `open` to `close` and beyond. Every method may be called
 * at any time.
 */
export interface Socket<T = undefined> {
  /**
   * Yours: any value that belongs to this connection. At first the `data` that `upgrade` has returned;
   * `undefined` without that handler.
   */
  data: T
  /** Unique among all connections of all processes; no id can be guessed from another. */
  readonly id: string
  /**
   * As in the WHATWG WebSocket interface: 1 open, 2 closing, 3 closed. Also 2 from the client's Close frame
   * on, which comes before the `close` handler is called: `send` returns 0 by then.
   */
  readonly readyState: 1 | 2 | 3
  /** The subprotocol that `upgrade` has chosen, or empty. */
  readonly protocol: string
  /** The extensions that were agreed on, as Sec-WebSocket-Extensions has them; empty for none. */
  readonly extensions: string
  /** Numeric address of the peer; stays readable after the close. Empty on a unix socket. */
  readonly remoteAddress: string
  /** Port of the peer. 0 on a unix socket. */
  readonly remotePort: number
  /** Numeric address that the peer has connected to. Empty on a unix socket. */
  readonly localAddress: string
  /** Port that the peer has connected to. 0 on a unix socket. */
  readonly localPort: number
  /** When the connection was accepted: milliseconds since the Unix epoch. */
  readonly connectedAt: number
  /** Bytes that `send` has taken and that were not yet given to the kernel. */
  readonly bufferedAmount: number
  /** The topics subscribed to, in no particular order. Empty once closed. */
  readonly topics: readonly string[]

  /**
   * Sends one message. Returns the number of payload bytes (1 for an empty message) when it was taken,
   * `SendStatus.BACKPRESSURE` (-1) when it waits behind earlier bytes, or `SendStatus.DROPPED` (0) when it
   * was not taken. A boolean in place of the options is `compress`. A message's bytes, here and where they
   * count for `maxBackpressure`, are those before compression. Throws OptionError when `data` is neither a
   * string nor bytes, or longer than 2^31-11 bytes, or an option is wrong.
   */
  send(data: Data, options?: boolean | SendOptions): number
  /**
   * Sends one message as `send` does, and resolves when all of it has left: when its last byte was given to
   * the kernel, also while the socket is closing. That says nothing of what the client has received. Rejects
   * with ERR_DROPPED when the message was not taken, and with ERR_CLOSED when the socket is not open or its
   * connection has ended before the message had left; a rejection that you ignore is no unhandled one. Of
   * messages that are awaited one by one, some 256 complete in one turn of the event loop, and the next ones
   * in the next, so that a client which always reads does not keep the server from others. Throws OptionError
   * at once, as `send` does.
   */
  sendAndFlush(data: Data, options?: boolean | SendOptions): Promise<void>
  /**
   * Sends one message made of many chunks, as fragments, and takes no more chunks than the client reads: one
   * chunk and one fragment (at most 64 KiB) are in memory. Resolves when the last bytes are on their way. The
   * message is text if the first chunk is a string; `binary` decides otherwise. Strings go into binary
   * messages as UTF-8; bytes in text messages must be UTF-8; both may be cut anywhere. A source without
   * chunks makes an empty text message. Streams of one socket take turns in the order of the calls. Messages
   * that are sent or published meanwhile wait behind the streams, and count in `bufferedAmount` and for
   * `maxBackpressure`, of which up to 64 KiB are kept free for fragments; `ping` and `close` do not wait.
   *
   * When the source fails, gives something else than Data or bytes that are not UTF-8, or when the signal
   * aborts, the connection ends with 1011 if a part of the message was sent, since that part cannot be taken
   * back; otherwise the connection goes on. The promise rejects with the source's error, the signal's reason,
   * OptionError, or ERR_CLOSED when the socket is closed, or starts to close, meanwhile. The source is then
   * told to stop: a stream of Node's is destroyed, of another source the iterator's `return` is called.
   */
  sendStream(source: AsyncIterable<Data>, options?: SendStreamOptions): Promise<void>
  /**
   * Resolves when `bufferedAmount` is at most `threshold` bytes: 0 (the default) to 2^31-1. Any number of
   * calls may wait. Rejects with ERR_CLOSED when the socket is closed, or starts to close, before that; with
   * the signal's reason when the signal aborts; with OptionError.
   */
  drained(options?: DrainedOptions): Promise<void>
  /**
   * Calls the callback at once, and returns its result; messages that the callback sends to this socket leave
   * in as few writes as possible. Calls may be nested. Of an asynchronous callback, only messages sent before
   * its first `await` are put together.
   */
  cork<R>(callback: (socket: this) => R): R
  /**
   * Stops reading from this client, so that the client must wait: no message, ping or pong reaches a handler
   * until `resume`. Messages that had been read already are kept, no more than one read of the network
   * brings. During the pause the server hears nothing from the client: silence is no reason to drop the
   * client (`idleTimeout`), and the server learns only after `resume` that the client has closed or ended the
   * connection. It learns of a reset at once, or within a second. If the connection ends meanwhile, the kept
   * messages are delivered first. `close` and `terminate` end the pause.
   */
  pause(): void
  /**
   * Ends a pause: the kept messages are delivered as soon as the current handler has returned, then reading
   * goes on.
   */
  resume(): void
  /**
   * Sends a Ping frame with up to 125 bytes (RFC 6455, section 5.5.2). Returns what `send` returns; throws
   * OptionError.
   */
  ping(data?: Data): number
  /**
   * Sends a Pong frame with up to 125 bytes that no Ping has asked for (RFC 6455, section 5.5.3), or the
   * answer to a Ping where the route's `autoPong` is false. Returns what `send` returns; throws OptionError.
   */
  pong(data?: Data): number
  /**
   * Starts the closing handshake; nothing is sent or received afterwards. Code 1000-1003, 1007-1014 or
   * 3000-4999 (RFC 6455, section 7.4), a reason of at most 123 bytes of UTF-8; else OptionError. Without a
   * code the Close frame is empty, and the client sees 1005, as with `close()` of a browser; a reason without
   * a code goes with 1000. Further calls do nothing.
   */
  close(code?: number, reason?: string): void
  /** Cuts the connection without a handshake: both sides see 1006. */
  terminate(): void

  /**
   * Subscribes to a topic (an exact string of 1 to 65,535 bytes, without lone surrogates, else OptionError).
   * False when the socket already was subscribed, or is closed.
   */
  subscribe(topic: string): boolean
  /** False when the socket was not subscribed. */
  unsubscribe(topic: string): boolean
  /** Whether the socket subscribes to a topic. Throws OptionError as `subscribe` does. */
  isSubscribed(topic: string): boolean
  /**
   * Sends to the topic's other subscribers, here and behind the backplane; this socket need not subscribe.
   * False when no other socket of this server subscribes, or this socket is not open. The options are those
   * of `send`, for every subscriber here.
   */
  publish(topic: string, data: Data, options?: boolean | SendOptions): boolean
}

/** How `Socket.send` and `publish` send a message. */
export interface SendOptions {
  /**
   * Whether to compress the message, where compression was agreed on with the client. Default: the route's
   * `threshold` decides.
   */
  compress?: boolean
  /**
   * `false`: bytes go out as text, without being decoded and encoded again; the call throws OptionError
   * unless they are UTF-8. `true`: a string goes out as binary, as its UTF-8. Default: strings are text,
   * bytes are binary.
   */
  binary?: boolean
  /**
   * The bytes that go out as text are known to be UTF-8, and are not checked: a client closes the connection
   * with 1007 when they are not. Default false.
   */
  isUtf8?: boolean
}

/** How `Socket.sendStream` sends its message. */
export interface SendStreamOptions {
  /** Whether the message is binary. Default: binary if the first chunk is bytes. */
  binary?: boolean
  /** As with `send`; without `compress`, the length of the first chunk decides. */
  compress?: boolean
  /** Ends the stream, and also the connection if a part of the message was sent. */
  signal?: AbortSignal
}

/** What `Socket.drained` waits for. */
export interface DrainedOptions {
  /** Bytes: 0 to 2^31-1. Default 0. */
  threshold?: number
  /** Ends the wait. */
  signal?: AbortSignal
}
