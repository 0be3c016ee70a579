/**
 * `createServer` of `node:http`, on this package's engine. What is the same, what differs and what is
 * missing: docs/compatibility.md. Everything else, clients first of all, is that of Node.
 */
import http from 'node:http'
import type { RequestListener } from './http/exchange.js'
import { Server, type ServerOptions } from './http/server.js'

export {
  Agent,
  ClientRequest,
  get,
  globalAgent,
  IncomingMessage,
  METHODS,
  maxHeaderSize,
  OutgoingMessage,
  request,
  ServerResponse,
  STATUS_CODES,
  setMaxIdleHTTPParsers,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http'
export type { RequestListener } from './http/exchange.js'
export { Server, type ServerOptions } from './http/server.js'

/** Makes a server whose `request` event the listener gets, as `createServer` of `node:http`. */
export function createServer(listener?: RequestListener): Server
export function createServer(options: ServerOptions, listener?: RequestListener): Server
export function createServer(given: ServerOptions | RequestListener = {}, listener?: RequestListener): Server {
  return typeof given === 'function' ? new Server({}, given) : new Server(given, listener)
}

type Face = Omit<typeof http, 'createServer' | 'Server'> & { createServer: typeof createServer; Server: typeof Server }

// What newer releases of Node have beside these, too, and `globalAgent` as programs set it.
const face: Face = Object.assign(Object.create(http), { createServer, Server })
export default face
