/** Options of the face's WebSocketServer, and what they come to here. */
import type { Server as HttpServer, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import { Server as SecureServer } from 'node:tls'
import {
  type CompressionOptions,
  type CompressorSize,
  NotSupportedError,
  type ServerOptions as OwnServerOptions,
} from '../../index.js'
import type { Server as FaceServer } from '../http/server.js'
import { warn } from '../warning.js'
import type { WebSocket } from './socket.js'

export interface VerifyClientInfo {
  origin: string
  secure: boolean
  req: IncomingMessage
}

/** Accepts by returning true. */
export type VerifyClientCallbackSync = (info: VerifyClientInfo) => boolean
/** Accepts by calling back. */
export type VerifyClientCallbackAsync = (
  info: VerifyClientInfo,
  callback: (accepts: boolean, code?: number, message?: string, headers?: OutgoingHttpHeaders) => void,
) => void
/** Which of the two it is, is seen from the number of its arguments. */
export type VerifyClient = VerifyClientCallbackSync | VerifyClientCallbackAsync

/** What zlib is given is a process warning; `concurrencyLimit` is for threads: here are none. */
export interface PerMessageDeflateOptions {
  serverNoContextTakeover?: boolean | undefined
  clientNoContextTakeover?: boolean | undefined
  serverMaxWindowBits?: number | undefined
  clientMaxWindowBits?: number | undefined
  threshold?: number | undefined
  zlibDeflateOptions?: object | undefined
  zlibInflateOptions?: object | undefined
  concurrencyLimit?: number | undefined
}

export interface ServerOptions<T extends typeof WebSocket = typeof WebSocket> {
  host?: string | undefined
  port?: number | undefined
  path?: string | undefined
  verifyClient?: VerifyClient | undefined
  handleProtocols?: (protocols: Set<string>, request: IncomingMessage) => string | false
  clientTracking?: boolean | undefined
  perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined
  /** Bytes; 0 for as many as the engine can count. Default 100 MiB. */
  maxPayload?: number | undefined
  /** Accepted, and without effect: events of one connection come one by one, in either case. */
  allowSynchronousEvents?: boolean | undefined
  /** Whether Pings are answered. Default true. */
  autoPong?: boolean | undefined
  backlog?: number | undefined
  /** Milliseconds for a client to answer a Close frame; the engine waits for 30,000, which is the most. */
  closeTimeout?: number | undefined
  /** Of `node:http`, of `node:https`, or of the face of `node:http`. */
  server?: HttpServer | HttpsServer | FaceServer | undefined
  noServer?: boolean | undefined
  skipUTF8Validation?: boolean | undefined
  /** Without effect: what a client can make the server hold is bounded by `maxPayload` (docs/limits.md). */
  maxBufferedChunks?: number | undefined
  /** Throws NotSupportedError for another number than that of `ws`. */
  maxFragments?: number | undefined
  /**
   * A client that sends more Pings than this while more than 16 KiB wait for it is cut; 0 for no limit.
   * Default 60.
   */
  maxPendingAutoPongs?: number | undefined
  WebSocket?: T | undefined
  /** Not of `ws`: serves `wss:`, in place of a server of `node:https`. */
  tls?: OwnServerOptions['tls']
  /**
   * Not of `ws`: which engine serves. Left out, the portable one takes the connections of `node:https`, and
   * the native one, where there is one, all others.
   */
  engine?: OwnServerOptions['engine']
}

/** Of `ws`: bytes of one received message. */
export const MAX_PAYLOAD = 100 * 1024 * 1024

/** `ws` has null for these, and programs look for it. */
const NOT_GIVEN = Object.fromEntries(
  ['handleProtocols', 'verifyClient', 'backlog', 'server', 'host', 'path', 'port'].map((name) => [name, null]),
)

/** As the member `options` of a server has them; those of `ws`. */
export const DEFAULTS: ServerOptions = {
  allowSynchronousEvents: true,
  autoPong: true,
  maxBufferedChunks: 256 * 1024,
  maxFragments: 16 * 1024,
  maxPayload: MAX_PAYLOAD,
  maxPendingAutoPongs: 60,
  skipUTF8Validation: false,
  perMessageDeflate: false,
  clientTracking: true,
  closeTimeout: 30_000,
  noServer: false,
  ...NOT_GIVEN,
}

/** In the words of `ws`, which programs and tests compare. */
const NO_PORT = 'One and only one of the "port", "server", or "noServer" options must be specified'

const SECURE_ON_NATIVE =
  "the native engine cannot go on with Node's TLS: leave `engine` out, or give `port` and `tls`, which the native engine serves"

function isOtherNumber(fragments: unknown): boolean {
  return isGiven(fragments) && fragments !== DEFAULTS.maxFragments
}

/** Options that mean something which this face cannot do, when they are given as the predicate says. */
const UNSUPPORTED: readonly [name: keyof ServerOptions, isMeant: (value: unknown) => boolean, instead: string][] = [
  ['skipUTF8Validation', (value) => value === true, 'text is always checked'],
  ['maxFragments', isOtherNumber, 'set `maxPayload`, which bounds what a client can make the server hold'],
]

/** Settings of zlib by which clients would get what they cannot read, or fewer bytes be taken. */
const ZLIB = ['dictionary', 'maxOutputLength']
/** What `ws` itself takes from the handshake. */
const WINDOW = 'windowBits'

function isGiven(value: unknown): boolean {
  return value !== undefined
}

/** Throws NotSupportedError, or TypeError as `ws` does where no place to listen is given. */
export function checkServerOptions(options: ServerOptions, own: typeof WebSocket): void {
  for (const [name, isMeant, instead] of UNSUPPORTED) {
    if (isMeant(options[name])) throw new NotSupportedError(`the option ${name} of WebSocketServer`, instead)
  }
  const { WebSocket: given = own } = options
  if (given !== own && !(given.prototype instanceof own)) {
    throw new NotSupportedError('the option WebSocket of WebSocketServer', 'let the class extend the WebSocket of this module')
  }
  for (const name of ['setSocket', 'emitClose'] as const) {
    // Nobody would call it.
    if (Reflect.get(given.prototype, name) !== Reflect.get(own.prototype, name)) {
      throw new NotSupportedError(
        `the option WebSocket of WebSocketServer, of a class that has its own ${name}`,
        'listen to events',
      )
    }
  }
  const hasPort = options.port !== undefined && options.port !== null
  if (Number(hasPort) + Number(Boolean(options.server)) + Number(Boolean(options.noServer)) !== 1) throw new TypeError(NO_PORT)
  if (options.tls !== undefined && !hasPort) throw new TypeError('The "tls" option goes with "port"')
  if (options.tls !== undefined && (options.backlog ?? undefined) !== undefined) {
    throw new NotSupportedError('the option backlog of WebSocketServer with tls', 'its backlog is the largest that there is')
  }
  if (options.engine === 'native' && options.server instanceof SecureServer) throw notOnNative()
}

/** For connections of `node:https`, where the native engine was asked for. */
export function notOnNative(): NotSupportedError {
  return new NotSupportedError("engine: 'native' with connections of node:https", SECURE_ON_NATIVE)
}

/** For window bits of 8 to 15, the smallest size with a window that is not smaller. */
const COMPRESSORS: readonly CompressorSize[] = ['4KB', '4KB', '8KB', '16KB', '32KB', '64KB', '128KB', '256KB']
const DECOMPRESSORS: readonly CompressorSize[] = ['3KB', '3KB', '3KB', '3KB', '4KB', '8KB', '16KB', '32KB']

/** Of `ws`: bytes from which on messages are compressed. */
const THRESHOLD = 1024

export function compressionOf(given: boolean | PerMessageDeflateOptions): false | CompressionOptions {
  if (given === false) return false
  const options = given === true ? {} : given
  for (const member of ['zlibDeflateOptions', 'zlibInflateOptions'] as const) {
    const zlib: Readonly<Record<string, unknown>> = { ...options[member] }
    const name = ZLIB.find((each) => isGiven(zlib[each]))
    if (name !== undefined) {
      throw new NotSupportedError(
        `the option perMessageDeflate.${member}.${name} of WebSocketServer`,
        'leave it out: windows and `threshold` can be chosen',
      )
    }
    // What trades processor time and memory for length: the example of `ws` has it, and so have programs.
    const effort = Object.keys(zlib).filter((each) => each !== WINDOW && isGiven(zlib[each]))
    if (effort.length > 0) {
      warn(`${effort.join(', ')} of perMessageDeflate.${member}: no effect, since windows and \`threshold\` alone can be chosen`)
    }
  }
  // One compressor serves all sockets then, with the largest window; clients choose theirs.
  for (const side of ['server', 'client'] as const) {
    if (options[`${side}NoContextTakeover`] && isGiven(options[`${side}MaxWindowBits`])) {
      warn(`${side}MaxWindowBits of perMessageDeflate: no effect beside ${side}NoContextTakeover, which has no window to keep`)
    }
  }
  return {
    compressor: options.serverNoContextTakeover ? 'shared' : sizeOf(COMPRESSORS, options.serverMaxWindowBits),
    decompressor: options.clientNoContextTakeover ? 'shared' : sizeOf(DECOMPRESSORS, options.clientMaxWindowBits),
    threshold: options.threshold ?? THRESHOLD,
  }
}

function sizeOf(sizes: readonly CompressorSize[], bits: unknown): CompressorSize {
  const size = sizes[(typeof bits === 'number' ? bits : 15) - 8]
  if (size === undefined) throw new TypeError(`Invalid value for a number of window bits: ${String(bits)}`)
  return size
}
