/**
 * The interface of uWebSockets.js, on this package's engine. What is the same, what differs and what is
 * missing: docs/compatibility.md.
 */
import { NotSupportedError } from '../index.js'
import {
  App,
  LIBUS_LISTEN_DEFAULT,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
  SSLApp,
  us_listen_socket_close,
  us_socket_local_port,
} from './uws/app.js'
import * as behavior from './uws/behavior.js'

export type { AppOptions, HttpHandler, ListenCallback, ListenSocket as us_listen_socket, TemplatedApp } from './uws/app.js'
export * from './uws/behavior.js'
export type { HttpRequest } from './uws/request.js'
export type { HttpResponse } from './uws/response.js'
export type { WebSocket } from './uws/socket.js'
export type { RecognizedString } from './uws/strings.js'
export { App, LIBUS_LISTEN_DEFAULT, LIBUS_LISTEN_EXCLUSIVE_PORT, SSLApp, us_listen_socket_close, us_socket_local_port }

/** Throws NotSupportedError. */
export function H3App(): never {
  throw new NotSupportedError('H3App', 'no engine speaks HTTP/3, use SSLApp')
}

/** Throws NotSupportedError. */
export function getParts(): never {
  throw new NotSupportedError('getParts', 'let a `Response` of the body and its content-type parse it: `formData`')
}

/** All of them, as programs find them that import uWebSockets.js whole. */
export default {
  ...behavior,
  App,
  SSLApp,
  H3App,
  getParts,
  us_listen_socket_close,
  us_socket_local_port,
  LIBUS_LISTEN_DEFAULT,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
}
