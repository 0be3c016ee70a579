/**
 * The server side of the `ws` package's interface, on this package's engine. What is the same, what differs
 * and what is missing: docs/compatibility.md.
 */
import { extension, PerMessageDeflate, Receiver, Sender, subprotocol } from './ws/parts.js'
import { WebSocketServer } from './ws/server.js'
import { WebSocket } from './ws/socket.js'
import { createWebSocketStream } from './ws/stream.js'

export type { CloseEvent, ErrorEvent, Event, MessageEvent, WebSocketEventMap } from './ws/events.js'
export type { PerMessageDeflateOptions, ServerOptions, VerifyClient, VerifyClientInfo } from './ws/options.js'
export { extension, PerMessageDeflate, Receiver, Sender, subprotocol } from './ws/parts.js'
export { WebSocketServer, WebSocketServer as Server } from './ws/server.js'
export { type BinaryType, type RawData, type SendOptions, WebSocket } from './ws/socket.js'
export { createWebSocketStream } from './ws/stream.js'

/** The class, with the other exports as its members. */
export default Object.assign(WebSocket, {
  WebSocket,
  WebSocketServer,
  Server: WebSocketServer,
  createWebSocketStream,
  extension,
  PerMessageDeflate,
  Receiver,
  Sender,
  subprotocol,
})
