/** `WebSocketBehavior` of uWebSockets.js: handlers, limits with their defaults, and compression. */
import type { CompressionOptions, CompressorSize, WebSocketHandlers } from '../../index.js'
import type { HttpRequest } from './request.js'
import type { HttpResponse } from './response.js'
import type { WebSocket } from './socket.js'

/** A compressor, a decompressor, or both of them with `|`. */
export type CompressOptions = number

export const DISABLED: CompressOptions = 0
export const SHARED_COMPRESSOR: CompressOptions = 1
export const SHARED_DECOMPRESSOR: CompressOptions = 1 << 8
export const DEDICATED_COMPRESSOR_3KB: CompressOptions = (9 << 4) | 1
export const DEDICATED_COMPRESSOR_4KB: CompressOptions = (9 << 4) | 2
export const DEDICATED_COMPRESSOR_8KB: CompressOptions = (10 << 4) | 3
export const DEDICATED_COMPRESSOR_16KB: CompressOptions = (11 << 4) | 4
export const DEDICATED_COMPRESSOR_32KB: CompressOptions = (12 << 4) | 5
export const DEDICATED_COMPRESSOR_64KB: CompressOptions = (13 << 4) | 6
export const DEDICATED_COMPRESSOR_128KB: CompressOptions = (14 << 4) | 7
export const DEDICATED_COMPRESSOR_256KB: CompressOptions = (15 << 4) | 8
export const DEDICATED_COMPRESSOR: CompressOptions = DEDICATED_COMPRESSOR_256KB
export const DEDICATED_DECOMPRESSOR_512B: CompressOptions = 9 << 8
export const DEDICATED_DECOMPRESSOR_1KB: CompressOptions = 10 << 8
export const DEDICATED_DECOMPRESSOR_2KB: CompressOptions = 11 << 8
export const DEDICATED_DECOMPRESSOR_4KB: CompressOptions = 12 << 8
export const DEDICATED_DECOMPRESSOR_8KB: CompressOptions = 13 << 8
export const DEDICATED_DECOMPRESSOR_16KB: CompressOptions = 14 << 8
export const DEDICATED_DECOMPRESSOR_32KB: CompressOptions = 15 << 8
export const DEDICATED_DECOMPRESSOR: CompressOptions = DEDICATED_DECOMPRESSOR_32KB

/** What `upgrade` is given, and gives to HttpResponse's `upgrade`. It means nothing here. */
// biome-ignore lint/suspicious/noEmptyInterface: uWebSockets.js' own type has no members
export interface us_socket_context_t {}

/** As uWebSockets.js has it. Limits that are left out are those of uWebSockets.js. */
export interface WebSocketBehavior<UserData> {
  /** Bytes. Default 16 KiB; more than the engine can count to, 2^31-1, counts as that. */
  maxPayloadLength?: number
  /** Default 64 KiB; 0 for none. */
  maxBackpressure?: number
  closeOnBackpressureLimit?: boolean | number
  /** Minutes; 0, the default, for none. */
  maxLifetime?: number
  /** Seconds: 0 or 8 to 960. Default 120. */
  idleTimeout?: number
  /** Default true. */
  sendPingsAutomatically?: boolean
  /** Default DISABLED. */
  compression?: CompressOptions
  /** Default: every client is accepted, with the first subprotocol that it offers. */
  upgrade?: (response: HttpResponse, request: HttpRequest, context: us_socket_context_t) => void | Promise<void>
  open?: (socket: WebSocket<UserData>) => void | Promise<void>
  message?: (socket: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void | Promise<void>
  dropped?: (socket: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) => void | Promise<void>
  drain?: (socket: WebSocket<UserData>) => void
  close?: (socket: WebSocket<UserData>, code: number, message: ArrayBuffer) => void
  ping?: (socket: WebSocket<UserData>, message: ArrayBuffer) => void
  pong?: (socket: WebSocket<UserData>, message: ArrayBuffer) => void
  subscription?: (socket: WebSocket<UserData>, topic: ArrayBuffer, newCount: number, oldCount: number) => void
}

/** Bytes; those of uWebSockets.js. */
const MAX_PAYLOAD_LENGTH = 16 * 1024
const MAX_BACKPRESSURE = 64 * 1024
/** What the engine can count to. */
const NO_LIMIT = 2 ** 31 - 1

/** The limits as routes of this package have them. */
export function limitsOf<UserData>(
  behavior: WebSocketBehavior<UserData>,
): Omit<WebSocketHandlers<unknown>, 'upgrade' | 'open' | 'message'> & { readonly maxBackpressure: number } {
  const {
    maxPayloadLength = MAX_PAYLOAD_LENGTH,
    maxBackpressure = MAX_BACKPRESSURE,
    closeOnBackpressureLimit = false,
    maxLifetime = 0,
    idleTimeout = 120,
    sendPingsAutomatically = true,
    compression = DISABLED,
  } = behavior
  return {
    maxPayloadLength: Math.min(maxPayloadLength, NO_LIMIT),
    maxBackpressure: maxBackpressure === 0 ? NO_LIMIT : Math.min(maxBackpressure, NO_LIMIT),
    closeOnBackpressureLimit: Boolean(closeOnBackpressureLimit),
    maxLifetime: maxLifetime * 60,
    idleTimeout,
    sendPings: sendPingsAutomatically,
    compression: compression === DISABLED ? false : compressionOf(compression),
  }
}

/** By memory level, which tells all compressors apart. */
const COMPRESSORS: readonly CompressorSize[] = ['3KB', '4KB', '8KB', '16KB', '32KB', '64KB', '128KB', '256KB']
/** By window bits, from 9 on: the smallest window here is of 2 KiB, 11 bits. */
const DECOMPRESSORS: readonly CompressorSize[] = ['3KB', '3KB', '3KB', '4KB', '8KB', '16KB', '32KB']

/** No bits for one of the two mean the shared one, as in uWebSockets.js. */
function compressionOf(bits: CompressOptions): CompressionOptions {
  const isShared = (bits & 0xff) === 0 || (bits & 0xff) === SHARED_COMPRESSOR
  return {
    compressor: isShared ? 'shared' : (COMPRESSORS[(bits & 15) - 1] ?? '256KB'),
    decompressor: DECOMPRESSORS[((bits >> 8) & 15) - 9] ?? 'shared',
    threshold: 0,
  }
}
