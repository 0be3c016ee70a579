/** Masking of frames (RFC 6455, section 5.3). */
import type { Buffer } from 'node:buffer'
import { endianness } from 'node:os'

/** Bytes from which on whole words are worth their preparation. */
const MIN_LENGTH_FOR_WORDS = 64

/** Whether a word in memory begins with its lowest byte. */
const IS_LITTLE_ENDIAN = endianness() === 'LE'

/**
 * Unmasks, in place, a piece of a payload that begins after `offset` bytes of it. The mask's first byte is
 * the lowest of the number.
 */
export function unmask(piece: Buffer, mask: number, offset: number): void {
  if (mask === 0) return
  let turned = turn(mask, offset & 3)
  let at = 0
  if (IS_LITTLE_ENDIAN && piece.length >= MIN_LENGTH_FOR_WORDS) {
    const aligned = -piece.byteOffset & 3
    for (; at < aligned; at++) {
      piece[at] = (piece[at] ?? 0) ^ (turned & 0xff)
      turned = turn(turned, 1)
    }
    const words = new Int32Array(piece.buffer, piece.byteOffset + at, (piece.length - at) >> 2)
    for (let index = 0; index < words.length; index++) words[index] = (words[index] ?? 0) ^ turned
    at += words.length * 4
  }
  for (; at < piece.length; at++) {
    piece[at] = (piece[at] ?? 0) ^ (turned & 0xff)
    turned = turn(turned, 1)
  }
}

/** The mask as it is after a number of bytes, 0 to 3. */
function turn(mask: number, bytes: number): number {
  return bytes === 0 ? mask : (mask >>> (8 * bytes)) | (mask << (32 - 8 * bytes))
}
