/** HTTP requests, and the handlers that respond to them. */
import type { X509Certificate } from 'node:crypto'
import type { Awaitable, Data, Params } from './common.js'

/**
 * The HTTP request: a web-standard Request, for whatever takes one, with what a route adds. It is a copy,
 * valid for as long as it is kept.
 *
 * The body is read as it comes. While the handler does not read, the server stops reading from the client
 * after the first 64 KiB, and does not notice that the client leaves until the handler reads on. After the
 * response, a body of up to 64 KiB can still be read, and a handler that is reading a longer body already can
 * read on; any other rest of the body is thrown away. A GET or HEAD has no body here, as in the Fetch
 * standard: a body that the client sends is thrown away.
 */
export interface ServerRequest<P extends string = string> extends Request {
  /** As sent, for example `GET`. */
  readonly method: string
  /**
   * Absolute: scheme, host, `path` and query, as `new URL` writes them. The host is that of a target in
   * absolute form, else the Host header; `localhost` where the header is empty or missing. The Host never
   * changes the path: the response to a Host that is no `host` or `host:port` is 400.
   */
  readonly url: string
  /**
   * The path in the form that routes are compared with, the same as the `pathname` of `url`. Characters are
   * percent-encoded where RFC 3986 asks for encoding, in upper case; letters, digits and `-_.~!'()*` never
   * are; `.` and `..` segments are resolved (`/a/%2e%2E/b` is `/b`). The response to a target with a
   * backslash or `#` in its path, with a `%` that encodes nothing, or with bytes beyond ASCII is 400.
   */
  readonly path: string
  /** The route's parameters, segments of `path`, percent-decoded. */
  readonly params: Params<P>
  /** The target as it was sent (RFC 9112, section 3.2): path and query, or an absolute URL. */
  readonly target: string
  /** The query as sent, with its `?`; empty where there is none. In `url` it is as `new URL` encodes it. */
  readonly search: string
  /** What follows the `?`, parsed. */
  readonly query: URLSearchParams
  /** The header fields, as a web-standard Headers object. */
  readonly headers: Headers
  /** Numeric address of the peer, which may be a proxy. Empty on a unix socket. */
  readonly remoteAddress: string
  /** Port of the peer. 0 on a unix socket. */
  readonly remotePort: number
  /** Numeric address that the peer has connected to. Empty on a unix socket. */
  readonly localAddress: string
  /** Port that the peer has connected to. 0 on a unix socket. */
  readonly localPort: number
  /**
   * The certificate that the client has shown (`requestCert`), when an authority in `ca` has signed it and it
   * is valid; else `undefined`. Ask before the handler returns its response: after that, a certificate that
   * was not asked for before is `undefined` too.
   */
  readonly clientCertificate: X509Certificate | undefined
  /**
   * Numeric address of the client behind a proxy, with the option `proxyProtocol`. `undefined` without that
   * option, and where the proxy names no TCP address: for the proxy's own health checks (LOCAL), for clients
   * on a unix socket.
   */
  readonly proxiedAddress?: string
  /**
   * Aborts when the client goes away before the whole response was given to the engine, or before the
   * request's body has come whole. The signal of a clone does not abort.
   */
  readonly signal: AbortSignal
  /**
   * The body as it comes; null when there is no body. The stream errors with the signal's reason when the
   * client goes away.
   */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>> | null
  /**
   * The whole body, decoded as UTF-8. `text`, `json` and `bytes` reject with a TypeError when the body was
   * read before, with ERR_BODY_TOO_LARGE beyond `maxRequestBodySize` (when the handler does not catch this
   * error, the response is 413), and with the signal's reason when the client goes away.
   */
  text(): Promise<string>
  /**
   * The whole body as JSON; rejects with a SyntaxError when the body is not JSON. The type is the caller's
   * claim: nothing checks the type.
   */
  json<T = unknown>(): Promise<T>
  /** The whole body as bytes. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>
  /**
   * Cuts the connection without a response, or in the middle of one; `signal` aborts before this returns, and
   * what the handler returns is thrown away. Of the request for a WebSocket, too. Does nothing when the
   * response is whole or the client has gone.
   */
  terminate(): void
}

/** What the function of `writeResponse` writes the body of its response to. */
export interface BodyWriter {
  /**
   * Sends a piece: a string as UTF-8, or bytes, which are yours again when `write` has returned true or
   * `ready` has resolved. Returns whether more may be written now. After false, wait for `ready`: to write
   * again before that is ERR_NOT_READY where the client has not read what it has, so that no more than one
   * piece waits for it in memory. When the client has gone nothing is sent, and `write` returns false. Throws
   * OptionError; ERR_CONTENT_LENGTH for more than the length that the Response announces; ERR_CLOSED when the
   * response has ended.
   */
  write(data: Data): boolean
  /**
   * Resolves when more may be written; rejects with the reason of the request's `signal` when the client has
   * gone. A rejection that you ignore is no unhandled one.
   */
  ready(): Promise<void>
}

/**
 * Responds to one HTTP request. A body that is there at once is sent with its length; any other body is sent
 * as it comes, as fast as the client reads, and cancelled when the client goes away. When a handler throws or
 * rejects, the client gets 500 and `onError` the error; likewise when a body fails before its response has
 * begun. When a body fails later, the connection is cut.
 *
 * A stream with a `content-length` is sent with that length, rather than in chunks; the last byte is sent
 * when the stream has ended. A body of another length is ERR_CONTENT_LENGTH, which ends the connection: with
 * 500, or in the middle of the response. For HEAD and 304 the field is sent as it is; 204 has no such field,
 * and 205 says 0. `date` replaces the server's. `connection: close` ends the connection after the response;
 * otherwise Connection, Keep-Alive, Trailer and Transfer-Encoding are left out: the server writes these
 * fields.
 *
 * What `fetch` gives can be returned as it is: content is sent as `fetch` has decoded it (gzip, deflate, br,
 * and zstd where `fetch` does), without the fields that describe it encoded (Content-Encoding,
 * Content-Length, digests), and without those of the other connection (RFC 9110, section 7.6.1). The server
 * tells such a Response by its `url`. A Response made with `new Response` is sent as it says: leave
 * `content-encoding` and `content-length` out when you give it the `body` and `headers` of a fetched
 * Response.
 */
export type RouteHandler<P extends string> = (request: ServerRequest<P>) => Awaitable<Response>
