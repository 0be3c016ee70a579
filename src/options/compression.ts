/** `compression` of a WebSocket route and of one connection: the home of its default and ranges. */
import type { CompressionSettings } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import type { CompressionOptions, CompressorSize } from '../types/index.js'
import { checkInteger, checkObject, MAX_INT32, type Names } from './checks.js'

/** Bytes: the default of `ws` too. */
const DEFAULT_THRESHOLD = 1024

/**
 * For each size, zlib's window bits and memory level of a compressor, which are those of µWebSockets: it
 * takes 2^(bits + 2) + 2^(level + 9) bytes (zconf.h); and the window bits of a decompressor.
 */
const SIZES: Readonly<Record<CompressorSize, readonly [compressorBits: number, memoryLevel: number, decompressorBits: number]>> =
  {
    '3KB': [9, 1, 11],
    '4KB': [9, 2, 12],
    '8KB': [10, 3, 13],
    '16KB': [11, 4, 14],
    '32KB': [12, 5, 15],
    '64KB': [13, 6, 15],
    '128KB': [14, 7, 15],
    '256KB': [15, 8, 15],
  }

const COMPRESSION_OPTION_NAMES: Names<CompressionOptions> = ['compressor', 'decompressor', 'threshold']

/** Throws OptionError. */
export function resolveCompression(compression: CompressionOptions): CompressionSettings {
  checkObject('compression', compression, COMPRESSION_OPTION_NAMES, 'compression.')
  const { compressor = 'shared', decompressor = 'shared', threshold = DEFAULT_THRESHOLD } = compression
  checkInteger('compression.threshold', threshold, 0, MAX_INT32, ' bytes')
  const [compressorBits, memoryLevel] = resolveSize('compression.compressor', compressor)
  const [, , decompressorBits] = resolveSize('compression.decompressor', decompressor)
  return {
    compressor: { windowBits: compressorBits, memoryLevel, takeover: compressor !== 'shared' },
    decompressor: { windowBits: decompressorBits, takeover: decompressor !== 'shared' },
    threshold,
  }
}

/** A shared compressor exists once, so it may have the largest size. */
function resolveSize(option: string, size: 'shared' | CompressorSize): (typeof SIZES)[CompressorSize] {
  if (size === 'shared') return SIZES['256KB']
  if (typeof size === 'string' && Object.hasOwn(SIZES, size)) return SIZES[size]
  throw new OptionError(option, size, `'shared' or one of ${Object.keys(SIZES).join(', ')}`)
}

/** Of one connection: members that are left out are the route's. Throws OptionError. */
export function resolveOwnCompression(
  given: false | CompressionOptions,
  route: CompressionSettings | undefined,
): CompressionSettings | undefined {
  if (given === false) return undefined
  if (route === undefined) throw new OptionError('compression', given, 'false or left out: the route does not compress')
  const own = resolveCompression(given)
  const compressor = given.compressor === undefined ? route.compressor : own.compressor
  const decompressor = given.decompressor === undefined ? route.decompressor : own.decompressor
  // What is shared takes no memory for the connection.
  if (compressor.takeover && !(route.compressor.takeover && compressor.memoryLevel <= route.compressor.memoryLevel)) {
    throw new OptionError('compression.compressor', given.compressor, "'shared' or no larger than the route's")
  }
  if (decompressor.takeover && !(route.decompressor.takeover && decompressor.windowBits <= route.decompressor.windowBits)) {
    throw new OptionError('compression.decompressor', given.decompressor, "'shared' or no larger than the route's")
  }
  return { compressor, decompressor, threshold: given.threshold === undefined ? route.threshold : own.threshold }
}
