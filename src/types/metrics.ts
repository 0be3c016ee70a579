/** What a server counts. */

/**
 * What a server has counted since it was made, over all its calls of `listen`; plain numbers that only grow,
 * but for `connectionsOpen`. "Bytes" are those of messages' payloads: text as UTF-8, before compression,
 * without the heads of WebSocket frames.
 */
export type Metrics = {
  /** TCP connections accepted or adopted, for WebSocket and HTTP, also those that ended before a request. */
  readonly tcpConnections: number
  /** WebSocket connections accepted: handshakes completed. */
  readonly connectionsAccepted: number
  /** WebSocket connections that have not ended: `connectionsAccepted` less `connectionsClosed`. */
  readonly connectionsOpen: number
  /** WebSocket connections that have ended, in whatever way. */
  readonly connectionsClosed: number
  /**
   * Requests for a WebSocket connection that were refused: for the reasons of the next four counters, because
   * they were malformed or their path unknown, because the server was closing.
   */
  readonly upgradesRefused: number
  /** Of `upgradesRefused`: because of `allowedOrigins`. */
  readonly upgradesRefusedByOrigin: number
  /**
   * Of `upgradesRefused`: because of `maxConnections`. The native engine has places for 1,048,575 WebSocket
   * connections of a thread; its 503 for want of a place counts in neither.
   */
  readonly upgradesRefusedByLimit: number
  /** Of `upgradesRefused`: because of `maxConnectionsPerAddress`. */
  readonly upgradesRefusedByAddress: number
  /** Of `upgradesRefused`: by the route's `upgrade` handler, which returned a Response or failed. */
  readonly upgradesRefusedByHandler: number
  /** HTTP requests, other than those for a WebSocket connection. Requests to the health path count too. */
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
   * Messages taken for a client: by `send` where it did not return 0, and published messages once for each
   * subscriber. A message of `sendStream` counts with its last fragment, and its bytes as they go.
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
