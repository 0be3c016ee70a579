/**
 * The one interface between the public API (`src/`) and the two engines. An engine moves bytes: it knows
 * connections as numbers, requests as flat text, and no policy. Routing, defaults, validation, handler errors
 * and HTTP semantics live above it, so that both engines behave alike.
 *
 * Order. For one connection, `onMessage`, `onPing`, `onPong`, `onDrain` and `onClose` arrive in the order in
 * which they happened, and what is called on it takes effect in the order in which it was called. No event is
 * delivered from inside a call into the engine: `send`, `close`, `accept` and the others return first.
 *
 * Lifetime. A connection id is valid from the return of `accept` until its `onClose` has been delivered;
 * after that every call with it is a defined no-op (`0`, `false`). The same holds for an exchange id, which
 * ends with `respond`, `endResponse`, `accept`, `abort`, or the `aborted` event; the rest of its body may be
 * read after the response.
 *
 * Long because it is one interface, and every sentence in it binds two engines.
 */
import type { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { Socket as NetSocket } from 'node:net'

/** Names one open connection of one engine; never 0. */
export type ConnectionId = number
/** Names one HTTP request that waits for `respond` or `accept`; never 0. */
export type ExchangeId = number

/** What serves: µWebSockets in a native addon, or the `ws` package on Node's own HTTP server. */
export type EngineName = 'native' | 'portable'

/** A payload as the caller gave it. A string is text; bytes are binary, unless the caller says `isText`. */
export type Payload = string | Uint8Array

/** What an engine calls a thing that it refuses. */
export interface TlsSource {
  /** For example `the certificate in certs/cert.pem, block 2`. */
  readonly name: string
  readonly file: string | undefined
}

/** TLS material, already read and checked by `src/tls/material.ts`. No engine opens a file. */
export interface EngineTls {
  /** PEM, as are the others: the blocks that were checked, and nothing else. */
  readonly key: Buffer
  readonly cert: Buffer
  readonly ca?: Buffer
  readonly sources: {
    /** Of all that is in no file. */
    readonly settings: TlsSource
    readonly key: TlsSource
    /** Of each block, as of `ca`. */
    readonly cert: readonly TlsSource[]
    readonly ca: readonly TlsSource[]
  }
  readonly passphrase?: string
  /** OpenSSL cipher list for TLS 1.2. */
  readonly ciphers?: string
  /** Those of TLS 1.3, which OpenSSL keeps apart; joined by colons. */
  readonly cipherSuites?: string
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  readonly requestCert: boolean
  /**
   * With `requestCert`: a client without a valid certificate gets no response to any request, also with a
   * resumed session.
   */
  readonly rejectUnauthorized: boolean
  /**
   * In lower case; a host name, or `*.` and the rest of one. Only the first entry may be without. A client's
   * name is compared without case and without the dot at its end.
   */
  readonly serverName?: string
}

/** The window of a compressor or decompressor (RFC 7692, section 7.1). */
export interface CompressionWindow {
  /** It has 2 to the power of this many bytes: 8 to 15. */
  readonly windowBits: number
  /** Whether the window is kept from one message to the next, which takes memory for each connection. */
  readonly takeover: boolean
}

/** What one WebSocket route asks of permessage-deflate. */
export interface CompressionSettings {
  readonly compressor: CompressionWindow & {
    /** Of zlib: 1 to 9. */
    readonly memoryLevel: number
  }
  readonly decompressor: CompressionWindow
  /** Bytes of a message from which on it is compressed when its sender does not choose. */
  readonly threshold: number
}

/** permessage-deflate as agreed with one client. */
export interface CompressionAgreement {
  readonly compressor: CompressionSettings['compressor']
  readonly decompressor: CompressionWindow
  /** As CompressionSettings. */
  readonly threshold: number
  /**
   * What the client must know of it, as the value of Sec-WebSocket-Extensions. As an offer, it could be
   * answered by nothing but itself.
   */
  readonly extension: string
}

/** The limits of one connection. */
export interface ConnectionLimits {
  /** Bytes of one received message; a larger one ends the connection with 1009. */
  readonly maxPayloadLength: number
  /**
   * Bytes that may wait for one connection. A message that would make it more is not taken, unless nothing
   * waits.
   */
  readonly maxBackpressure: number
  /**
   * Bytes of a fragment of a message that we send. While one is under way, so much of `maxBackpressure` is
   * kept free for it.
   */
  readonly maxFragmentLength: number
}

/**
 * What one WebSocket route asks of its connections. Values are validated and complete: an engine applies no
 * default.
 */
export interface EngineRoute extends ConnectionLimits {
  /**
   * Seconds without a byte from the client before the connection is dropped; 0 is never. While bytes wait for
   * it, those that it reads count too.
   */
  readonly idleTimeout: number
  /** Ping shortly before `idleTimeout` strikes. */
  readonly sendPings: boolean
  /** Whether `onDropped` is asked for. */
  readonly reportDrops: boolean
  /** Whether `onMessage` gets text as a Buffer, too. */
  readonly textAsBytes: boolean
  /** Whether `onMessage` may get a binary message in memory that is used again when it has returned. */
  readonly lendMessages: boolean
  /** Undefined where none is to be agreed on. */
  readonly compression: CompressionSettings | undefined
}

export interface EngineServerOptions {
  /** One entry for each certificate; the first also serves clients that name none of the others. */
  readonly tls: readonly EngineTls[] | undefined
  /** A PROXY header, version 2, is required first on every connection; who sends none is cut. */
  readonly proxyProtocol: boolean
  /**
   * Seconds from the first byte of a request until its body has come, responded to or not; 0 for no limit.
   * After that, and at most two seconds later, the connection is ended: with 408, unless a response to the
   * request has begun. A request that waits behind others on its connection begins when it is read.
   */
  readonly requestTimeout: number
  /** Addressed by index in `accept`. Fixed before `listen`. */
  readonly routes: readonly EngineRoute[]
}

/** An HTTP request, copied out of the engine. */
export interface RequestHead {
  /** As sent, for example `GET`. */
  readonly method: string
  /** Path and query as sent, for example `/chat/7?since=3`. */
  readonly url: string
  /**
   * The header fields as they came, each a line `name:value`, with a line break before the first and after
   * each. Names are in lower case, values without white space around them; each byte of a value is one
   * character (Latin-1). One string, because most fields of most requests are never looked at.
   */
  readonly fields: string
  /** Whether content follows, in `body` events; the last of them says so. Not so for `Content-Length: 0`. */
  readonly hasBody: boolean
  /** Numeric address of the peer; an IPv4 peer of a dual-stack socket appears as IPv4. Empty when unknown. */
  readonly remoteAddress: string
  /**
   * Port of the peer, then numeric address and port of this end of the connection, with blanks between them;
   * `0  0` on a unix socket. One string, because most handlers never ask.
   */
  readonly endpoints: string
  /**
   * What the PROXY header says is the client's numeric address. Empty when it names none, and without
   * `proxyProtocol`.
   */
  readonly proxiedAddress: string
  /** What `adopt` was given, on a connection that was taken over. */
  readonly incoming?: IncomingMessage
}

/** A connection that another server of this process has accepted, with one request on it. */
export interface ForeignConnection {
  /** A connected socket. Its streams are empty, and no other code reads or writes them any more. */
  readonly socket: NetSocket
  /** What was read from it: the head of the request, whole, and whatever came behind the head. */
  readonly input: Buffer
  /** Comes back in the request's head. */
  readonly incoming: IncomingMessage
}

/** Receives what happens to one connection. The engine calls nothing after `onClose`. */
export interface ConnectionEvents {
  /**
   * A whole message: text as a string, unless `textAsBytes`; bytes as a Buffer that may be kept, unless
   * `lendMessages` or `detachesMessages`.
   */
  onMessage(data: string | Buffer, isBinary: boolean): void
  /**
   * Whether each Buffer may be lent to `onMessage` in an ArrayBuffer without other bytes, which is detached
   * before any promise job runs. Messages of one turn may share it.
   */
  readonly detachesMessages: boolean
  /**
   * After a status of -1: the queue is empty. After 0: the queue is below `maxBackpressure` again. Of a
   * connection that is closing, from either side, whatever a status has promised: the last of the bytes that
   * waited have been given to the kernel.
   */
  onDrain(): void
  /** Whether the engine is to send a Pong for each Ping, before `onPing`. */
  readonly answersPings: boolean
  onPing(data: Buffer): void
  /**
   * `answersEngine`: it may be the answer to the last Ping that the engine has sent by itself, which no Pong
   * has answered before.
   */
  onPong(data: Buffer, answersEngine: boolean): void
  /**
   * A message of `sendReported` has left: all of it was given to the kernel. Once for each, in the order of
   * the calls, also while the connection is closing. A message that has not left when `onClose` comes never
   * will.
   */
  onSent(): void
  /**
   * After `setBufferedAmountLowThreshold` returned true: `bufferedAmount` is at most the threshold. Once for
   * each such call, unless `close` comes first.
   */
  onBufferedAmountLow(): void
  /** After `readyForFragment` returned false: it would return true now. */
  onFragmentDrain(): void
  /**
   * A published message was not taken for this connection: its queue would have exceeded `maxBackpressure`.
   * Only on a route that asks for it (`reportDrops`), in a later turn of the event loop. What `send` refuses
   * is in its status, and not reported here. Text comes as a string. All who missed a message may get the
   * same memory.
   */
  onDropped(data: string | Buffer, isBinary: boolean): void
  /**
   * The end. `code` is what the peer's Close frame said (1005 when it had no code), or the code of the error
   * that ended the connection (1002, 1007, 1009), or 1006 when there was no closing handshake. `wasClean`:
   * the code is what the peer's Close frame said.
   */
  onClose(code: number, reason: string, wasClean: boolean): void
}

/** Receives what happens to a server. */
export interface ServerEvents {
  /**
   * Every HTTP request, upgrades included. Ends with exactly one of `respond`, `endResponse`, `accept`,
   * `abort`, or `aborted`.
   */
  request(exchange: ExchangeId, head: RequestHead): void
  /**
   * A piece of a request's body, which may be kept; the last one may be empty. They come after the response
   * too.
   */
  body(exchange: ExchangeId, chunk: Buffer, isLast: boolean): void
  /** After `write` returned false: all of it is on its way. */
  writable(exchange: ExchangeId): void
  /**
   * The client of an exchange without a whole response, or whose body has not come whole, has gone; the id is
   * dead.
   */
  aborted(exchange: ExchangeId): void
  /** accept(2) failed for want of descriptors; once per shortage, until accepting has worked again. */
  descriptorsExhausted(): void
}

/** The head of a response. */
export interface ResponseHead {
  readonly status: number
  readonly statusText: string
  /**
   * name, value, name, value … without Content-Length, Transfer-Encoding and Connection, which the engine
   * writes (`Connection: close` while it does not listen). It writes a Date unless there is one among
   * them.
   */
  readonly headers: readonly string[]
  /**
   * What Content-Length announces. Undefined leaves the field out: a whole response has no content then (204,
   * 304), one in pieces is sent in chunks (RFC 9112, section 7.1).
   */
  readonly contentLength: number | undefined
  /**
   * Ends the connection with this response. What still comes of the request's body is read and thrown away
   * for about 10 seconds, so that the client gets to read the response. No `body` and no `aborted` follows.
   */
  readonly closes: boolean
}

/** A whole response to an exchange. */
export interface EngineResponse extends ResponseHead {
  /** As long as `contentLength`; undefined sends nothing (HEAD, 204, 304). */
  readonly body: Uint8Array | undefined
}

export type ListenAddress = TcpAddress | UnixAddress | DescriptorAddress

export interface TcpAddress {
  /** A numeric address: names are resolved above. `::` listens for IPv4 too. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  /** SO_REUSEPORT: let other processes share the port. */
  readonly reusePort: boolean
}

export interface UnixAddress {
  /** The path of the socket, which is removed when listening stops. */
  readonly unix: string
}

export interface DescriptorAddress {
  /** A socket that is open in this process, and bound. It is closed when listening stops. */
  readonly fd: number
}

/** Where a socket listens, as the system says. */
export interface BoundAddress {
  /** Numeric; empty for a unix socket. */
  readonly host: string
  /** 0 for a unix socket. */
  readonly port: number
}

/**
 * What a server of an engine has counted since it was made. Messages are whole ones, and their bytes those of
 * their payloads: text as UTF-8, before compression, without the heads of frames. Control frames count
 * nowhere.
 */
export interface EngineCounters {
  /** Connections accepted or adopted, whatever became of them. */
  readonly tcpConnections: number
  readonly messagesReceived: number
  readonly bytesReceived: number
  /** Taken for a connection; a published one counts once for each subscriber that it was taken for. */
  readonly messagesSent: number
  readonly bytesSent: number
  /**
   * Published, and not taken for a subscriber because its queue would have exceeded `maxBackpressure`; once
   * for each subscriber. What `send` refuses is counted above.
   */
  readonly publishesDropped: number
}

/** The counters of a server that has not begun. */
export const NO_COUNTERS: EngineCounters = {
  tcpConnections: 0,
  messagesReceived: 0,
  bytesReceived: 0,
  messagesSent: 0,
  bytesSent: 0,
  publishesDropped: 0,
}

/** What a fragment is in its message. */
export interface Fragment {
  readonly isBinary: boolean
  readonly isFirst: boolean
  readonly isLast: boolean
  readonly compress: boolean | undefined
}

/** What a server of an engine does for HTTP exchanges. */
export interface EngineHttp {
  /** Sends a whole response. False when the exchange is dead. */
  respond(exchange: ExchangeId, response: EngineResponse): boolean
  /**
   * Begins a response in pieces; its head is sent at once. False when the exchange is dead. With a
   * `contentLength`, the caller writes exactly so many bytes before `endResponse`.
   */
  beginResponse(exchange: ExchangeId, head: ResponseHead): boolean
  /**
   * Sends a piece. False when it has to wait for the client: a `writable` or `aborted` event follows, and
   * tells when to go on.
   */
  write(exchange: ExchangeId, chunk: Uint8Array): boolean
  /**
   * Ends a response in pieces, and with it the connection, as `ResponseHead.closes`, if that was to be or if
   * `closes` says so now.
   */
  endResponse(exchange: ExchangeId, closes: boolean): void
  /** Cuts the connection, so that the client sees that its response is not whole; no `aborted` follows. */
  abort(exchange: ExchangeId): void
  /** Stops to read the body, and with it the connection; what was read already still comes. */
  pauseBody(exchange: ExchangeId): void
  /**
   * Reads on. Sends `100 Continue` where the client waits for that (RFC 9110, section 10.1.1), unless the
   * body or the response has begun: the engine does not do that by itself.
   */
  resumeBody(exchange: ExchangeId): void
  /**
   * The certificate that the client of an exchange has shown, as DER. Undefined when the client has shown
   * none, when it is not valid or of no authority in `ca`, and when the exchange has ended.
   */
  peerCertificate(exchange: ExchangeId): Buffer | undefined
  /**
   * Whether the kernel has taken every response and, where it tells, the clients' systems have acknowledged
   * all bytes.
   */
  isFlushed(): boolean
}

/** What an engine does for the connections that a server of it has accepted. */
export interface EngineConnections {
  /**
   * Sends one message. Returns at once: the payload's bytes (1 for an empty one) when it was taken, -1 when
   * it was taken while earlier bytes wait for the client (an `onDrain` follows), 0 when it was not taken,
   * because the connection is closed or closing or because the queue would exceed `maxBackpressure` (then an
   * `onDrain` follows too). `compress` left undefined leaves it to the route's threshold; it means nothing
   * where no compression was agreed on, or for an empty message. The message's length is the one before
   * compression. `isText` sends bytes as text: the caller knows that they are UTF-8.
   */
  send(id: ConnectionId, data: Payload, compress?: boolean, isText?: boolean): number
  /** Like `send`. After a status other than 0, `onSent` follows, unless `onClose` comes first. */
  sendReported(id: ConnectionId, data: Payload, compress?: boolean, isText?: boolean): number
  /** Like `send`. The payload is at most 125 bytes (RFC 6455, section 5.5). */
  ping(id: ConnectionId, data: Payload): number
  /** Like `ping`: a Pong that the peer may not have asked for. */
  pong(id: ConnectionId, data: Payload): number
  /**
   * Starts the closing handshake; code 1005 sends none. A peer that does not answer is cut after 30 seconds.
   */
  close(id: ConnectionId, code: number, reason: string): void
  /** Cuts the connection; `onClose` follows with 1006. */
  terminate(id: ConnectionId): void
  /** Bytes accepted by `send` and not yet given to the kernel. */
  bufferedAmount(id: ConnectionId): number
  /**
   * Asks for `onBufferedAmountLow` when `bufferedAmount` is at most `threshold`; another call replaces the
   * threshold. False, and nothing follows of this call, when it is so already or the connection is closed;
   * what was asked for before stays.
   */
  setBufferedAmountLowThreshold(id: ConnectionId, threshold: number): boolean
  /** Whether messages can be sent: from `accept` to `close`, `terminate` or the end. */
  isOpen(id: ConnectionId): boolean
  /** Calls back at once; what is sent to this connection meanwhile leaves in as few writes as possible. */
  cork<R>(id: ConnectionId, callback: () => R): R

  /**
   * A message in fragments begins here. Whatever is sent or published to the connection from now on waits
   * behind it, and counts as queued, until it has ended: by its last fragment, or by `withdrawMessage`.
   * Pings, Pongs and Close go through at once. Any number may have begun; the calls below concern the one
   * that began first.
   */
  beginMessage(id: ConnectionId): void
  /**
   * Whether no earlier bytes wait for the client. When false, `onFragmentDrain` follows, unless `close` comes
   * first.
   */
  readyForFragment(id: ConnectionId): boolean
  /**
   * Sends a fragment of at most `maxFragmentLength` bytes, of a text or binary message: the first one says
   * which, and whether to compress it (undefined: by the first fragment's length). To be called when
   * `readyForFragment` says so.
   */
  sendFragment(id: ConnectionId, data: Uint8Array, fragment: Fragment): void
  /** Ends a message of which nothing was sent. */
  withdrawMessage(id: ConnectionId): void

  /**
   * Stops reading from the client. What has been read already may still come. Until `resume`, or `close`, the
   * client is not heard: neither its Close frame nor its silence (`idleTimeout`) ends the connection, only a
   * write that fails does.
   */
  pause(id: ConnectionId): void
  resume(id: ConnectionId): void

  /** False when it was subscribed already, or is closed. Topics are exact strings. */
  subscribe(id: ConnectionId, topic: string): boolean
  /** False when it was not subscribed. */
  unsubscribe(id: ConnectionId, topic: string): boolean
  isSubscribed(id: ConnectionId, topic: string): boolean
  topics(id: ConnectionId): string[]
}

/** One server of an engine. Every method may be called at any time, from any handler. */
export interface EngineServer {
  readonly http: EngineHttp
  readonly connections: EngineConnections
  /**
   * Binds and listens, on all addresses or none: nothing is accepted until the last of them is bound. The
   * promise gives what the system says of each, or rejects: with a ListenError for the first that failed, or
   * with a ClosedError when `stopListening` or `dispose` came meanwhile. May be called again after
   * `stopListening`, and after a failure; not after `dispose`.
   */
  listen(addresses: readonly ListenAddress[]): Promise<readonly BoundAddress[]>
  /**
   * Stops accepting connections. Those that are open go on; until the next `listen`, an HTTP connection ends
   * with its next response. Idempotent.
   */
  stopListening(): void
  /**
   * Takes a connection over, also while the server does not listen. Unless it becomes a WebSocket, it ends
   * with the response to its request. False when the process has no file descriptor left for it: the socket
   * is destroyed, and `descriptorsExhausted` told. Throws AdoptError, and then has done nothing. Not for a
   * server that was made with TLS.
   */
  adopt(connection: ForeignConnection): boolean
  /**
   * Serves new connections with these entries in place of those before; no session of before is resumed. Only
   * for a server that was made with TLS. Throws TlsError when the material is refused, and then nothing has
   * changed.
   */
  reloadTls(tls: readonly EngineTls[]): void

  /**
   * Completes the WebSocket handshake of an exchange whose request was checked above (GET, version 13, a key
   * of 16 bytes), with the subprotocol and headers given, and the compression that was agreed on, if any
   * (only on a route that asks for it). Without `limits`, the route's hold; `limits` are no larger. Returns
   * the new connection, or 0 when the client has gone.
   */
  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    compression: CompressionAgreement | undefined,
    events: ConnectionEvents,
    limits?: ConnectionLimits,
  ): ConnectionId
  /**
   * To every subscriber but `except` (0: to all). False when there was none. `compress` is as with `send`,
   * for each of them, and so is `isText`.
   */
  publish(topic: string, data: Payload, except: ConnectionId, compress?: boolean, isText?: boolean): boolean
  subscribers(topic: string): number

  /** Also before `listen`, and after `dispose`. */
  counters(): EngineCounters
  /** Whether the listening sockets keep the process alive. They do at first. */
  ref(): void
  unref(): void
  /**
   * Stops listening, cuts every connection and exchange, frees everything; `onClose` still arrives.
   * Idempotent.
   */
  dispose(): void
}

/**
 * What a member publishes to the other members of its hub, in all threads of the process, and what it gets
 * from them. Text stays text; `flags` are 31 bits of the member's own, which arrive as they are.
 */
export interface ThreadMember {
  /** Resolves when the members that are there already know of this one, unless their threads are busy. */
  readonly ready: Promise<void>
  /** From now on, what other members publish to the topic arrives. Once for each topic. */
  addInterest(topic: string): void
  /** Ends it. What is on its way does not arrive any more. */
  removeInterest(topic: string): void
  /**
   * Takes a copy of the message, and sends it with the next `flush`, or earlier, to all other members that
   * want the topic. Never waits for them.
   */
  publish(topic: string, data: Payload, flags: number): void
  flush(): void
  /** Sends what was published, and leaves. Nothing arrives afterwards. Idempotent. */
  close(): void
}

/** Errors that these throw become uncaught exceptions; what comes next arrives nonetheless. */
export interface ThreadMemberEvents {
  arrival(topic: string, data: string | Buffer, flags: number): void
  /**
   * So many messages of one other member were dropped, before the next ones of it that arrive: too much was
   * waiting for this thread.
   */
  lost(count: number): void
}

export interface ThreadMemberOptions {
  /** Members of one name hear of each other, over all threads of the process. */
  readonly hub: string
  /**
   * What may wait for this member of each other one, in bytes of memory: beyond it the oldest is dropped. The
   * newest message is always taken.
   */
  readonly maxPendingBytes: number
}

/** What an engine module exports. */
export interface Engine {
  readonly name: EngineName
  /** Throws TlsError when the TLS material is refused. */
  createServer(options: EngineServerOptions, events: ServerEvents): EngineServer
  /** Does not keep the process alive. Members on different engines do not hear of each other. */
  joinThreads(options: ThreadMemberOptions, events: ThreadMemberEvents): ThreadMember
}
