/** One message that a client sends, while it comes: in fragments, in pieces of them, compressed or not. */

import type { Buffer } from 'node:buffer'
import { GrowingBuffer } from '../../util/growing-buffer.js'
import { CLOSE_CODE } from '../../websocket/close-codes.js'
import { Utf8Check } from './utf8.js'

/**
 * The bytes of a message, which are all that is kept of it, however many fragments the message has. Text is
 * checked as it comes, so that the reader stops at the first byte that is not UTF-8 (RFC 6455, section 8.1).
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
   * Takes a copy of the piece. The heads of the message's frames have announced `announced` bytes so far.
   * Returns a close code when the piece fails the connection.
   */
  append(piece: Buffer, announced: number): number | undefined {
    if (this.#bytes.length + piece.length > this.#maxLength) return CLOSE_CODE.MESSAGE_TOO_BIG
    if (this.#text?.push(piece) === false) return CLOSE_CODE.INVALID_PAYLOAD
    this.#bytes.copy(piece, announced)
    return undefined
  }

  /** The whole message; a close code when text ends within a character. */
  finish(): Buffer | typeof CLOSE_CODE.INVALID_PAYLOAD {
    return this.#text?.isWhole === false ? CLOSE_CODE.INVALID_PAYLOAD : this.#bytes.take()
  }
}
