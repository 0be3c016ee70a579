/** Limits of a route of uWebSockets.js, with their defaults, as routes of this package have them. */
import type { CompressionOptions, CompressorSize, WebSocketHandlers } from '../../index.js'
import { type CompressOptions, DISABLED, SHARED_COMPRESSOR, type WebSocketBehavior } from './behavior.js'

/** Bytes; those of uWebSockets.js. */
const MAX_PAYLOAD_LENGTH = 16 * 1024
const MAX_BACKPRESSURE = 64 * 1024
/** What the engine can count to. */
const NO_LIMIT = 2 ** 31 - 1

/** The limits as routes of this package have them. */
export function limitsOf<UserData>(
  behavior: WebSocketBehavior<UserData>,
): Omit<WebSocketHandlers<unknown>, 'upgrade' | 'handshake' | 'open' | 'message'> & { readonly maxBackpressure: number } {
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
