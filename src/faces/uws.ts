/**
 * The interface of uWebSockets.js, on this package's engine. What is the same, what differs and what is
 * missing: docs/compatibility.md.
 */
import * as absent from './uws/absent.js'
import {
  App,
  LIBUS_LISTEN_DEFAULT,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
  SSLApp,
  us_listen_socket_close,
  us_socket_local_port,
} from './uws/app.js'
import * as behavior from './uws/behavior.js'
import { DeclarativeResponse } from './uws/declarative.js'

export * from './uws/absent.js'
export type { AppOptions, HttpHandler, ListenCallback, TemplatedApp, us_listen_socket } from './uws/app.js'
export * from './uws/behavior.js'
export type { HttpRequest } from './uws/request.js'
export type { HttpResponse } from './uws/response.js'
export type { WebSocket } from './uws/socket.js'
export type { RecognizedString } from './uws/strings.js'
export {
  App,
  DeclarativeResponse,
  LIBUS_LISTEN_DEFAULT,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
  SSLApp,
  us_listen_socket_close,
  us_socket_local_port,
}

/** All of them, as programs find them that import uWebSockets.js whole. */
export default {
  ...absent,
  ...behavior,
  App,
  SSLApp,
  DeclarativeResponse,
  us_listen_socket_close,
  us_socket_local_port,
  LIBUS_LISTEN_DEFAULT,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
}
