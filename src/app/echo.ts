/**
 * The default application: greets every client, echoes every message, and says what happens, a line at a
 * time. It uses the public interface alone, so it is also the example to start from.
 */
import { consolePage, SendStatus, type ServerOptions, WebSocketServer, WebSocketServerError } from '../index.js'
import { DESCRIPTORS_EXHAUSTED } from './descriptors.js'
import { type LogEvent, type LogFormat, logLine } from './log.js'
import { firstLine } from './log-text.js'
import { printLine } from './output.js'

const WELCOME = JSON.stringify({ event: 'connected', message: 'Welcome!' })

/** Bytes of one message, the layer's own default: written here because the queue below is sized by it. */
const MAX_MESSAGE = 16 * 1024 * 1024

/**
 * Bytes of echoes that may wait for one client: room for several of the largest messages, so that only a
 * client that sends without ever reading gets there.
 */
const MAX_QUEUED = 4 * MAX_MESSAGE

/** RFC 6455's registry of close codes: 1013, "Try Again Later". */
const TRY_AGAIN_LATER = 1013

/**
 * Milliseconds between two reports that descriptors have run out: a server at its limit runs out at every
 * reconnect.
 */
const EXHAUSTED_REPORT_INTERVAL = 60_000

/** What the default application can be told. */
export interface EchoOptions extends Pick<ServerOptions, 'engine' | 'tls'> {
  /** Print no line per message; connections are still announced. Default false. */
  quiet?: boolean
  /** Receives each line, without its line break. Default: standard output. */
  log?(line: string): void
  /** What lines look like. Default `lines`. */
  format?: LogFormat
  /** Whether `pretty` lines go to a terminal with colours. Default false. */
  hasColors?: boolean
}

/**
 * A server with one route, `/*`, which sends `{"event":"connected","message":"Welcome!"}` on open and echoes
 * each message byte for byte as what it came as, text or binary. `GET /` is a page to do that from a browser,
 * and `GET /health` is the server's own.
 *
 * No echo is ever left out of the sequence: a client that lets 64 MiB of its echoes wait unread is closed
 * with 1013. Throws OptionError, TlsError and EngineError, as the constructor of WebSocketServer does.
 */
export function createEchoServer(options: EchoOptions = {}): WebSocketServer {
  const { quiet = false, log = printLine, format = 'lines', hasColors = false, ...serverOptions } = options
  const say = (event: LogEvent) => log(logLine(event, format, hasColors))
  return new WebSocketServer({ ...serverOptions, onError: reportTo(say) }).get('/', consolePage()).ws('/*', {
    maxPayloadLength: MAX_MESSAGE,
    maxBackpressure: MAX_QUEUED,
    open(socket) {
      say({ event: 'open', id: socket.id, address: socket.remoteAddress })
      socket.send(WELCOME)
    },
    message(socket, message) {
      if (!quiet) say({ event: 'message', id: socket.id, message })
      if (socket.send(message) === SendStatus.DROPPED) socket.close(TRY_AGAIN_LATER, 'too many echoes wait unread')
    },
    close(socket, code, reason) {
      say({ event: 'close', id: socket.id, code, reason })
    },
  })
}

/**
 * What the application prints once it listens: the engine first, and why it is that one; then where to
 * connect.
 */
export function bannerLines(server: WebSocketServer, where: { host: string; port: number }, tls: boolean): string[] {
  const authority = `${reachableHost(where.host)}:${where.port}`
  const secure = tls ? 's' : ''
  return [
    `Engine: ${describeEngine(server)}`,
    `WebSocket server listening on port ${where.port}`,
    `${tls ? 'WSS' : 'WS'} endpoint: ws${secure}://${authority}`,
    `Health check: http${secure}://${authority}/health`,
  ]
}

function describeEngine(server: WebSocketServer): string {
  if (server.engine === 'native') return 'native (µWebSockets)'
  return server.engineReason === undefined ? 'portable (ws)' : `portable (ws): ${firstLine(server.engineReason)}`
}

/** A host that a client on this machine can use in a URL. */
function reachableHost(host: string): string {
  if (host === '::' || host === '0.0.0.0') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

function reportTo(say: (event: LogEvent) => void): (error: Error) => void {
  let lastExhausted = Number.NEGATIVE_INFINITY
  return (error) => {
    if (error instanceof WebSocketServerError && error.code === 'EMFILE') {
      const now = performance.now()
      if (now - lastExhausted >= EXHAUSTED_REPORT_INTERVAL) say({ event: 'notice', text: DESCRIPTORS_EXHAUSTED, isWarning: true })
      lastExhausted = now
    } else {
      say({ event: 'error', error })
    }
  }
}
