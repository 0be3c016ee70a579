/** Where HTTP requests end in the bytes of a connection. */
import type { Buffer } from 'node:buffer'

const LF = 10
/** Ends a head, and trailer fields: the end of the last line, and an empty line. */
const HEAD_END = '\n\r\n'
/** Chunks of a body that are handed to Node's parser at once. */
const MAX_CHUNKS = 32

/** What may be handed to Node's parser. */
export interface RequestPiece {
  readonly length: number
  /** Events that the piece can bring. */
  readonly events: number
}

/**
 * Where the next request, or piece of its body, ends. This is for pace only, and decides nothing about the
 * meaning of the bytes: Node's parser does, which refuses what it does not understand. As the parser gets no
 * byte beyond the end of a request, it also loses no byte behind a request that it takes for the last one: a
 * request for another protocol (RFC 9110, section 7.8).
 */
export class RequestEnds {
  #state: 'head' | 'body' | 'chunks' | 'trailers' = 'head'
  /** How many characters of HEAD_END have come last. */
  #matched = 0
  /** Bytes of a body, or of a chunk and the line break behind it, that are still to come. */
  #left = 0
  /** The size of the chunk whose line is coming; `#isInSize` until something else than a digit has come. */
  #size = 0
  #isInSize = true

  /** A head follows, or the rest of one. */
  expectHead(): void {
    if (this.#state === 'head') return
    this.#state = 'head'
    this.#matched = 0
  }

  /** After a head: a body of this length follows. */
  expectBody(length: number): void {
    this.#left = length
    if (length > 0) this.#state = 'body'
  }

  /** After a head: a chunked body follows (RFC 9112, section 7.1). */
  expectChunks(): void {
    this.#state = 'chunks'
    this.#left = 0
    this.#beginChunk()
  }

  /** What may be handed to the parser of these bytes (at least one). The result counts as handed over. */
  next(bytes: Buffer): RequestPiece {
    if (this.#state === 'chunks') return this.#nextChunks(bytes)
    if (this.#state !== 'body') return { length: this.#nextHead(bytes, 0), events: 1 }
    const length = this.#skip(bytes, 0)
    if (this.#left === 0) this.#state = 'head'
    return { length, events: 1 }
  }

  /** Where the head, or the trailer fields, end; the end of the bytes where that is still to come. */
  #nextHead(bytes: Buffer, from: number): number {
    let at = from
    // The end may have begun in the bytes before.
    for (; this.#matched > 0 && at < bytes.length; at++) {
      if (bytes[at] !== HEAD_END.charCodeAt(this.#matched)) this.#matched = bytes[at] === LF ? 1 : 0
      else if (this.#matched < HEAD_END.length - 1) this.#matched += 1
      else return this.#endHead(at + 1)
    }
    if (at === bytes.length) return at
    const found = bytes.indexOf(HEAD_END, at, 'latin1')
    if (found !== -1) return this.#endHead(found + HEAD_END.length)
    const last = bytes.toString('latin1', Math.max(at, bytes.length - 2))
    this.#matched = last.endsWith('\n') ? 1 : last === '\n\r' ? 2 : 0
    return bytes.length
  }

  #endHead(at: number): number {
    this.#matched = 0
    this.#state = 'head'
    return at
  }

  #nextChunks(bytes: Buffer): RequestPiece {
    let at = 0
    let chunks = 0
    while (at < bytes.length && chunks < MAX_CHUNKS) {
      if (this.#left > 0) {
        at = this.#skip(bytes, at)
        if (this.#left === 0) chunks += 1
      } else {
        at = this.#readSize(bytes, at)
        if (this.#state === 'trailers') return { length: this.#nextHead(bytes, at), events: chunks + 1 }
      }
    }
    return { length: at, events: chunks + 1 }
  }

  /** Reads the line with a chunk's size, and perhaps an extension. */
  #readSize(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(LF, from)
    const digits = bytes.toString('latin1', from, Math.min(end === -1 ? bytes.length : end, from + MAX_DIGITS))
    for (const digit of digits) {
      if (!this.#isInSize) break
      if (HEXADECIMAL.test(digit)) this.#size = this.#size * 16 + Number.parseInt(digit, 16)
      else this.#isInSize = false
    }
    if (end === -1) return bytes.length
    if (this.#size === 0) {
      this.#state = 'trailers'
      this.#matched = 1 // the line break before an empty line may be this one
    } else {
      this.#left = this.#size + '\r\n'.length
    }
    this.#beginChunk()
    return end + 1
  }

  #beginChunk(): void {
    this.#size = 0
    this.#isInSize = true
  }

  #skip(bytes: Buffer, from: number): number {
    const length = Math.min(this.#left, bytes.length - from)
    this.#left -= length
    return from + length
  }
}

const HEXADECIMAL = /^[0-9a-f]$/i
/**
 * Digits of the largest size that a number holds exactly; Node's parser accepts no more without leading
 * zeros.
 */
const MAX_DIGITS = 20
