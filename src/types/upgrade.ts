/** The request for a WebSocket connection, as the handlers of a route get it. */
import type { IncomingMessage } from 'node:http'
import type { ServerRequest } from './http.js'

/** The request for a WebSocket connection: a copy, so that it stays valid across `await`. */
export interface UpgradeRequest<P extends string = string> extends ServerRequest<P> {
  /** The Origin header as sent. Browsers always send an Origin, other clients need not. */
  readonly origin: string | undefined
  /**
   * The subprotocols that the client offered, in its order of preference. All are tokens (RFC 9110, section
   * 5.6.2): the response to a client that offers something else, like `v1/a` or `a b`, or the same
   * subprotocol twice, is 400 (RFC 6455, section 4.1).
   */
  readonly protocols: readonly string[]
  /** The request as `adopt` was given it, with what middleware has added. Only on adopted connections. */
  readonly incoming?: IncomingMessage
}

/**
 * The request for a WebSocket connection without the web-standard Request around it: what a `handshake`
 * handler gets. Its members say what those of UpgradeRequest say; header fields are asked for by `header`.
 */
export interface Handshake<P extends string = string>
  extends Pick<
    UpgradeRequest<P>,
    | 'url'
    | 'path'
    | 'params'
    | 'target'
    | 'search'
    | 'query'
    | 'remoteAddress'
    | 'remotePort'
    | 'localAddress'
    | 'localPort'
    | 'clientCertificate'
    | 'proxiedAddress'
    | 'signal'
    | 'terminate'
    | 'origin'
    | 'protocols'
    | 'incoming'
  > {
  /** The header fields in their order; names are in lower case. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /**
   * The value of a header field; those of a field that was sent more than once are joined with `, `.
   * `undefined` where there is none. The name may be in any case.
   */
  header(name: string): string | undefined
}
