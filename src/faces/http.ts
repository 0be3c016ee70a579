/**
 * `createServer` of `node:http`, on this package's engine. What is the same, what differs and what is
 * missing: docs/compatibility.md.
 */

import type { RequestListener } from './http/exchange.js'
import { Server, type ServerOptions } from './http/server.js'

export type { RequestListener } from './http/exchange.js'
export { Server, type ServerOptions } from './http/server.js'

/** Makes a server whose `request` event the listener gets, as `createServer` of `node:http`. */
export function createServer(listener?: RequestListener): Server
export function createServer(options: ServerOptions, listener?: RequestListener): Server
export function createServer(given: ServerOptions | RequestListener = {}, listener?: RequestListener): Server {
  return typeof given === 'function' ? new Server({}, given) : new Server(given, listener)
}

export default { createServer, Server }
