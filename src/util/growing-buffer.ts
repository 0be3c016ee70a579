/** Bytes that come in pieces. */
import { Buffer } from 'node:buffer'

const NOTHING = Buffer.alloc(0)

/** Bytes of the smallest memory that is made for pieces. */
const MIN_CAPACITY = 256

/**
 * Bytes in one piece of memory, which grows with the bytes to at most twice their number. However small the
 * pieces are that are added, all pieces together cost linear time, and no object of a piece is kept.
 */
export class GrowingBuffer {
  #memory: Buffer = NOTHING
  #start = 0
  #end = 0
  /**
   * Whether bytes may be written behind the end: not in memory that `append` was given, which its owner may
   * use there.
   */
  #isOwn = false

  get length(): number {
    return this.#end - this.#start
  }

  /** All of it; valid until the next call that changes something. */
  get view(): Buffer {
    return this.#start === 0 && this.#end === this.#memory.length ? this.#memory : this.#memory.subarray(this.#start, this.#end)
  }

  /**
   * Puts bytes at the end. When the buffer was empty, the memory of `bytes` is kept as it is, and belongs to
   * this object from then on.
   */
  append(bytes: Buffer): void {
    if (this.length === 0) {
      this.#memory = bytes
      this.#start = 0
      this.#end = bytes.length
      this.#isOwn = false
    } else {
      this.copy(bytes, Number.POSITIVE_INFINITY)
    }
  }

  /**
   * Puts a copy of bytes at the end. There will be at most `total` bytes, and no more memory than for them is
   * made.
   */
  copy(bytes: Buffer, total: number): void {
    const needed = this.length + bytes.length
    if (!this.#isOwn || this.#end + bytes.length > this.#memory.length) {
      const memory = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(Math.max(2 * needed, MIN_CAPACITY), total)))
      memory.set(this.view)
      this.#end = this.length
      this.#start = 0
      this.#memory = memory
      this.#isOwn = true
    }
    this.#memory.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** Takes bytes from the front. */
  drop(length: number): void {
    this.#start += length
    if (this.#start === this.#end) this.clear()
  }

  /** Gives all of it away. */
  take(): Buffer {
    const { view } = this
    this.clear()
    return view
  }

  clear(): void {
    this.#memory = NOTHING
    this.#start = 0
    this.#end = 0
    this.#isOwn = false
  }
}
