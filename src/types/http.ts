/** HTTP requests, and the handlers that answer them. */
import type { Awaitable, Params } from './common.js'

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
