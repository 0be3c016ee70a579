/**
 * Node's HTTP server as the portable engine uses it: its limits, its timeouts, and its responses to malformed
 * requests.
 */
import { createServer, type Server, STATUS_CODES } from 'node:http'
import { PortableRequest } from './http-request.js'

/**
 * Milliseconds for the head of a request. For the first request of a connection, the wait for the first byte
 * counts too. Node has the same default.
 */
const HEADERS_TIMEOUT = 60_000
/** Milliseconds between two looks at requests that take too long. */
const CHECK_INTERVAL = 1000

/**
 * A server that listens nowhere: PortableHttp hands it connections. `requestTimeout` in seconds, 0 for none.
 */
export function createHttpServer(requestTimeout: number): Server {
  const milliseconds = requestTimeout * 1000
  const server = createServer({
    IncomingMessage: PortableRequest,
    insecureHTTPParser: false,
    // Node would respond with 400, and then read on. Here `isMalformed` looks at Host.
    requireHostHeader: false,
    requestTimeout: milliseconds,
    headersTimeout: Math.min(HEADERS_TIMEOUT, milliseconds || HEADERS_TIMEOUT),
    connectionsCheckingInterval: CHECK_INTERVAL,
  })
  // Beyond a number, by default 2,000, Node leaves fields out and serves the request all the same, Host and
  // Content-Length among them. The head's length is limited already.
  server.maxHeadersCount = 0
  // Node's server begins to watch these times on this event.
  server.emit('listening')
  return server
}

/** The statuses for Node's codes of malformed requests, where the status is not 400. */
const STATUSES: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
}

/** The bytes of the response to a malformed request: `code` is that of Node's `clientError`. */
export function refusalBytes(code = ''): string {
  const status = STATUSES[code] ?? 400
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
}
