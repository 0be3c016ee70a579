/** `WebSocketBehavior` of uWebSockets.js, and its compressors. */
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
