/** A server beside a server of `node:http` or `node:https`, which hands its upgrades over. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket as NetSocket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { WebSocketHandlers, WebSocketServer } from '../../src/index.js'
import { localhostCertificate } from './certificates.js'
import { addressOf, type EngineName, makeServer, type Served, type ServeOptions } from './engines.js'
import { within } from './waiting.js'

/** What a listener for 'upgrade' is given. */
export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: NetSocket
  readonly head: Buffer
}

export interface BesideOptions extends ServeOptions {
  /** The HTTP server speaks TLS. */
  readonly secure?: boolean
  /** In place of handing each upgrade over at once. */
  readonly onUpgrade?: (upgrade: Upgrade, server: WebSocketServer) => void
}

export interface Beside extends Served {
  readonly http: Server
}

/** The address is that of the HTTP server, which says `http` to each request. */
export async function beside<T = undefined>(
  engine: EngineName,
  handlers: WebSocketHandlers<T> = {},
  options: BesideOptions = {},
): Promise<Beside> {
  const { secure = false, onUpgrade = adopt } = options
  const server = makeServer(engine, options)
  options.routes?.(server)
  server.ws<T>(options.path ?? '/*', handlers)
  const http = secure ? createSecureServer(localhostCertificate()) : createServer()
  http.on('request', (_request, response) => void response.end('http'))
  // Both of Node's servers give a Socket here.
  http.on('upgrade', (request, socket, head) => onUpgrade({ request, socket: socket as NetSocket, head }, server))
  const port = await listening(http)
  return { server, http, ...addressOf(port, '127.0.0.1', secure) }
}

export function adopt({ request, socket, head }: Upgrade, server: WebSocketServer): boolean {
  return server.adopt(request, socket, head)
}

/** Lets the server listen, and gives its port. It is closed when the test ends. */
export async function listening(http: Server): Promise<number> {
  await within(new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve)), 'node:http to listen')
  onTestFinished(() => {
    http.close()
    http.closeAllConnections()
  })
  // It listens on a port, as was just said.
  return (http.address() as AddressInfo).port
}
