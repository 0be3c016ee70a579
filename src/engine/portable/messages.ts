/** One message that a client sends, while it comes: in fragments, in pieces of them, compressed or not. */
import type { Buffer } from 'node:buffer'
import { GrowingBuffer } from '../../util/growing-buffer.js'
import { Utf8Check } from './utf8.js'

/** RFC 6455, section 7.4.1. */
export const INVALID_DATA = 1007
export const TOO_BIG = 1009

/**
 * Bytes of a message. They are all that is kept of it, however many fragments it has; and text is looked at
 * as it comes, so that no more of it is read than up to the byte at which it turns out to be none (RFC 6455,
 * section 8.1).
 */
export class MessageBuffer {
  readonly isBinary: boolean
  readonly #maxLength: number
  readonly #bytes = new GrowingBuffer()
  readonly #text: Utf8Check | undefined

  constructor(isBinary: boolean, maxLength: number) {
    this.isBinary = isBinary
    this.#maxLength = maxLength
    this.#text = isBinary ? undefined : new Utf8Check()
  }

  /**
   * Takes a copy. `announced` bytes in all are known of. Answers with a close code when that fails the
   * connection.
   */
  append(piece: Buffer, announced: number): number | undefined {
    if (this.#bytes.length + piece.length > this.#maxLength) return TOO_BIG
    if (this.#text?.push(piece) === false) return INVALID_DATA
    this.#bytes.copy(piece, announced)
    return undefined
  }

  /** The whole message; a close code when text ends within a character. */
  finish(): Buffer | typeof INVALID_DATA {
    return this.#text?.isWhole === false ? INVALID_DATA : this.#bytes.take()
  }
}
