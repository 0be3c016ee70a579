/**
 * `createServer` of `node:http`, on this package's engine. What is the same, what differs and what is
 * missing: docs/compatibility.md. Everything else, clients first of all, is that of Node.
 */
import http, { type ServerOptions as NodeOptions } from 'node:http'
import type { RequestListener } from './http/exchange.js'
import { type ServerOptions, Server as Underlying } from './http/server.js'

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
export type { ServerOptions } from './http/server.js'

/** As `Server` of `node:http`: an EventEmitter that listens, and that programs may extend. */
export type Server = Underlying
type ServerClass = typeof Underlying & typeof createServer
/** As `Server` of `node:http`, with `new` and without. */
export const Server: ServerClass = new Proxy(Underlying, {
  apply: (_class, _this, [given, listener]) => new Underlying(given, listener),
}) as ServerClass
Underlying.prototype.constructor = Server

/** Makes a server whose `request` event the listener gets, as `createServer` of `node:http`. */
export function createServer(listener?: RequestListener): Server
export function createServer(options: ServerOptions | NodeOptions, listener?: RequestListener): Server
export function createServer(given: ServerOptions | NodeOptions | RequestListener = {}, listener?: RequestListener): Server {
  return typeof given === 'function' ? new Underlying(given) : new Underlying(given, listener)
}

type Face = Omit<typeof http, 'createServer' | 'Server'> & { createServer: typeof createServer; Server: ServerClass }

// What newer releases of Node have beside these, too, and `globalAgent` as programs set it.
const face: Face = Object.assign(Object.create(http), { createServer, Server })
export default face
