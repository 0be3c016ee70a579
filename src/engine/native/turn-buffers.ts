/**
 * The ArrayBuffers of messages that are lent by detaching (`detachesMessages` of ConnectionEvents). Those of
 * one length share one in a turn: to make and detach an ArrayBuffer for each message would cost more than all
 * else that JavaScript does for a short one. No promise job, timer or other turn sees an ArrayBuffer again:
 * all of them are detached when the turn's handlers have returned.
 */
import type { Buffer } from 'node:buffer'
import { byteLengthOf } from '../../util/bytes.js'
import { MAX_INLINE_MESSAGE } from './channel-layout.js'
import { copyBytes, memoryOf, newMemory } from './channel-memory.js'

export class TurnBuffers {
  readonly #detach: (buffers: readonly ArrayBuffer[]) => void
  /** By length, of this turn; made at its first use. An array with gaps would be a hash table for V8. */
  #byLength: (Buffer | undefined)[] | undefined
  /** All of this turn. */
  #lent: Buffer[] = []

  /** `detach` ends all use of the memory: views of it have the length 0 then. */
  constructor(detach: (buffers: readonly ArrayBuffer[]) => void) {
    this.#detach = detach
  }

  /** A copy of the bytes, of at most MAX_INLINE_MESSAGE, valid until `end`. */
  copy(source: Buffer, start: number, length: number): Buffer {
    this.#byLength ??= Array<Buffer | undefined>(MAX_INLINE_MESSAGE + 1).fill(undefined)
    let bytes = this.#byLength[length]
    // A handler may have detached it itself, to transfer it to another thread for example.
    if (bytes === undefined || byteLengthOf(bytes) !== length) {
      bytes = newMemory(length)
      this.#byLength[length] = bytes
      this.#lent.push(bytes)
    }
    copyBytes(source, start, length, bytes)
    return bytes
  }

  /** Takes in a Buffer that has an ArrayBuffer of its own, which has no other bytes. */
  add(bytes: Buffer): void {
    this.#lent.push(bytes)
  }

  get isEmpty(): boolean {
    return this.#lent.length === 0
  }

  /** Detaches all that was lent since the last call. */
  end(): void {
    const lent = this.#lent
    this.#lent = []
    for (const bytes of lent) {
      const length = byteLengthOf(bytes)
      if (this.#byLength !== undefined && length <= MAX_INLINE_MESSAGE) this.#byLength[length] = undefined
    }
    this.#detach(lent.map(memoryOf))
  }
}
