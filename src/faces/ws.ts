/**
 * The server side of the `ws` package's interface, on this package's engine. What is the same, what differs
 * and what is missing: docs/compatibility.md.
 */
import type * as events from './ws/events.js'
import type * as options from './ws/options.js'
import { extension, PerMessageDeflate, Receiver, Sender, subprotocol } from './ws/parts.js'
import type * as server from './ws/server.js'
import { WebSocketServer } from './ws/server.js'
import type * as socket from './ws/socket.js'
import { WebSocket } from './ws/socket.js'
import { createWebSocketStream } from './ws/stream.js'

export type { CloseEvent, ErrorEvent, Event, MessageEvent, WebSocketEventMap } from './ws/events.js'
export type { PerMessageDeflateOptions, ServerOptions, VerifyClient, VerifyClientInfo } from './ws/options.js'
export { extension, PerMessageDeflate, Receiver, Sender, subprotocol } from './ws/parts.js'
export { WebSocketServer, WebSocketServer as Server } from './ws/server.js'
export { type BinaryType, type RawData, type SendOptions, WebSocket } from './ws/socket.js'
export { createWebSocketStream } from './ws/stream.js'

/** The class, with the other exports as its members. */
const Module = Object.assign(WebSocket, {
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
type Module = WebSocket

/** Types under the names that those of `@types/ws` have, where a program says `WebSocket.RawData`. */
declare namespace Module {
  type CloseEvent = events.CloseEvent
  type Data = string | socket.RawData
  type ErrorEvent = events.ErrorEvent
  type Event = events.Event
  type MessageEvent = events.MessageEvent
  type PerMessageDeflateOptions = options.PerMessageDeflateOptions
  type RawData = socket.RawData
  type Server<T extends typeof socket.WebSocket = typeof socket.WebSocket> = server.WebSocketServer<T>
  type ServerOptions<T extends typeof socket.WebSocket = typeof socket.WebSocket> = options.ServerOptions<T>
  type VerifyClientCallbackAsync = options.VerifyClientCallbackAsync
  type VerifyClientCallbackSync = options.VerifyClientCallbackSync
  type WebSocket = socket.WebSocket
  type WebSocketEventMap = events.WebSocketEventMap
  type WebSocketServer<T extends typeof socket.WebSocket = typeof socket.WebSocket> = server.WebSocketServer<T>
}

export default Module
