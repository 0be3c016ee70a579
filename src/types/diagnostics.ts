/** What the package publishes on channels of `node:diagnostics_channel`. */
import type { Socket } from './socket.js'
import type { UpgradeRequest } from './upgrade.js'

/**
 * The names of the channels, for `subscribe` of `node:diagnostics_channel`. All servers of a process publish
 * on them. A channel to which no function has subscribed costs nothing.
 */
export const DIAGNOSTICS_CHANNELS = {
  /** OpenDiagnostics: a WebSocket connection was accepted, before its `open` handler. */
  open: 'native-websocket-server.open',
  /** CloseDiagnostics: a WebSocket connection has ended, before its `close` handler. */
  close: 'native-websocket-server.close',
  /** RefusalDiagnostics: a request for a WebSocket connection was refused. */
  upgradeRefused: 'native-websocket-server.upgrade-refused',
  /** ErrorDiagnostics: a handler threw or rejected, before the `error` handler or `onError`. */
  error: 'native-websocket-server.error',
  /** BackpressureDiagnostics: a message that was sent has to wait for its client, or was not taken. */
  backpressure: 'native-websocket-server.backpressure',
} as const

/** A WebSocket connection was accepted. */
export interface OpenDiagnostics {
  /** Of the new connection. Nothing can be sent on it before its `open` handler. */
  readonly socket: Socket<unknown>
  /** The path of its route, as it was registered. */
  readonly route: string
  /** Its handshake: headers such as `traceparent` are in `request.headers`. */
  readonly request: UpgradeRequest
}

/** A WebSocket connection has ended. */
export interface CloseDiagnostics {
  /** Whose connection it was. */
  readonly socket: Socket<unknown>
  /** As the `close` handler gets it. */
  readonly code: number
  /** As the `close` handler gets it. */
  readonly reason: string
  /** As the `close` handler gets it. */
  readonly wasClean: boolean
}

/**
 * Why a request for a WebSocket connection was refused, with the status of the response:
 *
 * - `path`: no WebSocket route has the path, 404;
 * - `method`: not GET, 405;
 * - `version`: Sec-WebSocket-Version is not 13, 426;
 * - `key`: Sec-WebSocket-Key is not Base64 of 16 bytes, 400;
 * - `malformed`: target, subprotocols, extensions or a parameter of the path cannot be read, or the request
 *   has a body, 400;
 * - `origin`: `allowedOrigins` does not have it, 403;
 * - `address`: `maxConnectionsPerAddress` is reached, 503;
 * - `limit`: `maxConnections` is reached, 503;
 * - `handler`: the `upgrade` handler has refused it, with a status of its own, or has failed, 500;
 * - `closing`: the server closes, 503;
 * - `other`: the function in `allowedOrigins` has thrown, 500.
 *
 * What is no proper HTTP request (two Hosts, for example; with the portable engine also a body) is refused by
 * the engine, before it is known what the client wants, and told to no channel.
 */
export type RefusalReason =
  | 'path'
  | 'method'
  | 'version'
  | 'key'
  | 'malformed'
  | 'origin'
  | 'address'
  | 'limit'
  | 'handler'
  | 'closing'
  | 'other'

/** A request for a WebSocket connection was refused. */
export interface RefusalDiagnostics {
  /** What kept the client out. */
  readonly reason: RefusalReason
  /** The status of the response. */
  readonly status: number
  /** The target as the client has sent it, which may be anything. */
  readonly target: string
  /** As `ServerRequest.remoteAddress`. */
  readonly remoteAddress: string
}

/** A handler threw or rejected. */
export interface ErrorDiagnostics {
  /** What it was. */
  readonly error: unknown
  /** Whose handler it was; undefined for handlers of HTTP routes and `upgrade`. */
  readonly socket: Socket<unknown> | undefined
}

/**
 * A message of `Socket.send` has to wait for its client (`queued`, -1), or was not taken because too many
 * bytes wait (`dropped`, 0). Not told for published messages.
 */
export interface BackpressureDiagnostics {
  /** Whose client reads too slowly. */
  readonly socket: Socket<unknown>
  /** What became of the message. */
  readonly outcome: 'queued' | 'dropped'
}
