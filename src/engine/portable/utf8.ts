/** UTF-8 that comes in pieces. */
import { type Buffer, isUtf8 } from 'node:buffer'

/** Checks text that comes in pieces, and says at the first wrong byte that the text is not UTF-8. */
export class Utf8Check {
  /**
   * Bytes of a character that are still to come, and the values between which the next of these bytes must
   * be.
   */
  #needed = 0
  #lowest = 0x80
  #highest = 0xbf

  /** Whether all pieces together make up whole characters. */
  get isWhole(): boolean {
    return this.#needed === 0
  }

  /** False when the pieces so far are not the beginning of any text. */
  push(piece: Buffer): boolean {
    let at = 0
    while (this.#needed > 0 && at < piece.length) {
      if (!this.#pushByte(piece[at] ?? 0)) return false
      at += 1
    }
    const end = Math.max(at, startOfLastCharacter(piece))
    if (end > at && !isUtf8(piece.subarray(at, end))) return false
    for (at = end; at < piece.length; at++) if (!this.#pushByte(piece[at] ?? 0)) return false
    return true
  }

  /**
   * As the decoder of the Encoding Standard does (section 8.1.1); it accepts exactly what RFC 3629 allows.
   */
  #pushByte(byte: number): boolean {
    if (this.#needed > 0) {
      if (byte < this.#lowest || byte > this.#highest) return false
      this.#needed -= 1
      this.#lowest = 0x80
      this.#highest = 0xbf
      return true
    }
    if (byte < 0x80) return true
    if (byte < 0xc2 || byte > 0xf4) return false
    this.#needed = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    // These bounds exclude overlong forms, surrogates, and everything beyond U+10FFFF.
    if (byte === 0xe0) this.#lowest = 0xa0
    else if (byte === 0xf0) this.#lowest = 0x90
    else if (byte === 0xed) this.#highest = 0x9f
    else if (byte === 0xf4) this.#highest = 0x8f
    return true
  }
}

/** Where the last character begins, if it may be cut short: at most three bytes before the end. */
function startOfLastCharacter(bytes: Buffer): number {
  for (let at = bytes.length - 1; at >= 0 && at >= bytes.length - 3; at--) {
    const byte = bytes[at] ?? 0
    if (byte >= 0xc0) return at
    if (byte < 0x80) break
  }
  return bytes.length
}
