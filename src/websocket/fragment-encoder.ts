/** Turns the chunks of one message into the bytes of its fragments; chunks may be cut within a character. */
import { Buffer } from 'node:buffer'
import { TextDecoder } from 'node:util'
import type { Payload } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import { plainView } from '../util/bytes.js'

export class FragmentEncoder {
  #isBinary: boolean | undefined
  /** The first half of a surrogate pair, at the end of the last chunk. */
  #half = ''
  /** For bytes in a text message: checks that they are UTF-8. */
  #decoder: TextDecoder | undefined

  /** Undefined: the first chunk decides. */
  constructor(isBinary: boolean | undefined) {
    this.#isBinary = isBinary
  }

  get isBinary(): boolean {
    return this.#isBinary ?? false
  }

  /** Throws OptionError when bytes in a text message are not UTF-8. */
  encode(chunk: Payload): Uint8Array {
    this.#isBinary ??= typeof chunk !== 'string'
    if (typeof chunk === 'string') return this.#encodeText(chunk)
    const bytes = plainView(chunk)
    if (this.#isBinary) return this.#half === '' ? bytes : Buffer.concat([this.#takeHalf(), bytes])
    this.#decoder ??= new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const text = this.#decode(bytes)
    return Buffer.concat([this.#takeHalf(), Buffer.from(text)])
  }

  /** The bytes that are left at the end. */
  end(): Uint8Array {
    this.#finishBytes()
    return this.#takeHalf()
  }

  #encodeText(chunk: string): Uint8Array {
    this.#finishBytes()
    let text = this.#half + chunk
    this.#half = ''
    const last = text.charCodeAt(text.length - 1)
    // A high surrogate (UTF-16): the low surrogate may follow in the next chunk.
    if (last >= 0xd800 && last <= 0xdbff) {
      this.#half = text.slice(-1)
      text = text.slice(0, -1)
    }
    return Buffer.from(text)
  }

  /** The encoding of a half that stays alone: U+FFFD. */
  #takeHalf(): Uint8Array {
    const half = this.#half
    this.#half = ''
    return Buffer.from(half)
  }

  #decode(bytes: Uint8Array): string {
    try {
      return this.#decoder?.decode(bytes, { stream: true }) ?? ''
    } catch {
      throw new OptionError('data', 'bytes', 'UTF-8 in a text message')
    }
  }

  #finishBytes(): void {
    try {
      this.#decoder?.decode()
    } catch {
      throw new OptionError('data', 'bytes', 'UTF-8 in a text message, with no character cut by a string or the end')
    }
    this.#decoder = undefined
  }
}
