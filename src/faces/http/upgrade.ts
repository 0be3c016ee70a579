/**
 * The `upgrade` event: the socket that its listeners get, of a connection that the engine has. It carries no
 * bytes: the face of `ws` takes the connection by `accept`, and what a program writes is the response that
 * refuses.
 */
import { Buffer } from 'node:buffer'
import { type Accept, NotSupportedError, type ServerRequest, type Socket } from '../../index.js'
import { BODILESS, responseOf } from '../response.js'
import { ConnectionFacts } from '../ws/request.js'

/** What a connection carries that was taken: whoever has taken it hears of everything. */
export interface Taken {
  readonly handlers: TakenHandlers
  /** Whether Pings are answered. */
  readonly autoPong: boolean
}

export interface TakenHandlers {
  open(socket: Socket<Taken>): unknown
  /** Text comes as bytes. */
  message(socket: Socket<Taken>, message: string | Buffer, isBinary: boolean): unknown
  ping(socket: Socket<Taken>, data: Buffer): unknown
  pong(socket: Socket<Taken>, data: Buffer): unknown
  drain(socket: Socket<Taken>): unknown
  dropped(socket: Socket<Taken>): unknown
  close(socket: Socket<Taken>, code: number, reason: string, wasClean: boolean): unknown
}

/** Handlers and limits of a route that leaves both to whoever takes the connection. */
export const TAKEN_ROUTE = {
  open: (socket: Socket<Taken>) => socket.data.handlers.open(socket),
  message: (socket: Socket<Taken>, message: string | Buffer, isBinary: boolean) =>
    socket.data.handlers.message(socket, message, isBinary),
  ping(socket: Socket<Taken>, data: Buffer) {
    if (socket.data.autoPong) socket.pong(data)
    socket.data.handlers.ping(socket, data)
  },
  pong: (socket: Socket<Taken>, data: Buffer) => socket.data.handlers.pong(socket, data),
  drain: (socket: Socket<Taken>) => socket.data.handlers.drain(socket),
  dropped: (socket: Socket<Taken>) => socket.data.handlers.dropped(socket),
  close: (socket: Socket<Taken>, code: number, reason: string, wasClean: boolean) =>
    socket.data.handlers.close(socket, code, reason, wasClean),
  text: 'buffer',
  maxPayloadLength: 2 ** 31 - 1,
  maxBackpressure: 2 ** 31 - 1,
  idleTimeout: 0,
  sendPings: false,
  autoPong: false,
  // The largest: an Accept may have less.
  compression: { compressor: '256KB', decompressor: '256KB' },
} as const

const SWITCHES = /^HTTP\/1\.[01] 101/
const SWITCHES_LENGTH = 'HTTP/1.1 101'.length
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/

export class UpgradeSocket extends ConnectionFacts {
  readonly #request: ServerRequest
  #settle: ((outcome: Accept<Taken> | Response) => void) | undefined
  readonly #written: Uint8Array[] = []
  /** As much of the beginning as says whether it is a handshake. */
  #start = ''

  constructor(request: ServerRequest, server: object, settle: (outcome: Accept<Taken> | Response) => void) {
    super(request, server)
    this.#request = request
    this.#settle = settle
    request.signal.addEventListener('abort', () => {
      this.#decide(new Response())
      this.destroy()
    })
  }

  /** Takes the connection for a WebSocket. The socket is not to be used after that, and emits `close`. */
  accept(acceptance: Accept<Taken>): void {
    this.#decide(acceptance)
    this.destroy()
  }

  /** Nothing comes until somebody takes the connection. */
  override pause(): this {
    return this
  }

  /** Throws NotSupportedError for a handshake that the program does itself. */
  override _write(chunk: string | Uint8Array, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#gather(chunk, encoding)
    callback()
  }

  override _writev(
    chunks: { chunk: string | Uint8Array; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    for (const { chunk, encoding } of chunks) this.#gather(chunk, encoding)
    callback()
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#refuse()
    callback()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#refuse()
    super._destroy(error, callback)
  }

  static {
    // By this engine.io tells whether anybody has responded. The types of Node have it as a property.
    Object.defineProperty(UpgradeSocket.prototype, 'bytesWritten', {
      get(this: UpgradeSocket) {
        return this.#written.reduce((sum, { byteLength }) => sum + byteLength, 0)
      },
      configurable: true,
    })
  }

  #gather(chunk: string | Uint8Array, encoding: BufferEncoding): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(Uint8Array.from(chunk))
    this.#written.push(bytes)
    if (this.#start.length < SWITCHES_LENGTH) this.#start += bytes.toString('latin1', 0, SWITCHES_LENGTH)
    if (SWITCHES.test(this.#start)) {
      throw new NotSupportedError(
        'a handshake that is written to the socket of an upgrade',
        'use WebSocketServer of native-websocket-server/ws, with `server` or `handleUpgrade`',
      )
    }
  }

  /** With the response that was written; without one, cuts the connection. */
  #refuse(): void {
    if (this.#settle === undefined) return
    const response = writtenResponse(Buffer.concat(this.#written))
    if (response === undefined) this.#request.terminate()
    this.#decide(response ?? new Response())
  }

  #decide(outcome: Accept<Taken> | Response): void {
    const settle = this.#settle
    this.#settle = undefined
    settle?.(outcome)
  }
}

/** Undefined where the bytes are none that could be sent. */
function writtenResponse(bytes: Buffer): Response | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  const [first = '', ...lines] = bytes
    .subarray(0, end === -1 ? bytes.length : end)
    .toString('latin1')
    .trimEnd()
    .split('\r\n')
  const [, status, statusText = ''] = STATUS_LINE.exec(first) ?? []
  if (status === undefined) return undefined
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1).trim()]
  })
  // The engine writes these, and the connection ends, as after any refusal.
  const kept = headers.filter(([name]) => !/^(?:connection|content-length|transfer-encoding|date)$/i.test(name))
  kept.push(['connection', 'close'])
  const body = end === -1 ? undefined : Uint8Array.from(bytes.subarray(end + 4))
  const isBodiless = body === undefined || body.byteLength === 0 || BODILESS.has(Number(status))
  try {
    return responseOf(isBodiless ? null : body, { status: Number(status), statusText, headers: kept })
  } catch {
    // A status below 200, or a field that is none.
    return undefined
  }
}
