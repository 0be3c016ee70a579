// Bytes that both ends can make from a number: whatever is lost, repeated or changed on the way shows.
import { Buffer } from 'node:buffer'
import { createCipheriv, createHash } from 'node:crypto'

/** `length` bytes that look random. The same seed gives the same ones. */
export function content(seed, length) {
  const key = Buffer.alloc(32)
  key.writeUInt32LE(seed >>> 0)
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

/** Pieces of the same bytes, made as they are asked for. */
export function* pieces(seed, length, size = 65_536) {
  const key = Buffer.alloc(32)
  key.writeUInt32LE(seed >>> 0)
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  for (let left = length; left > 0; left -= size) yield cipher.update(Buffer.alloc(Math.min(left, size)))
}

/** Compares bytes that come in pieces with those of a seed. */
export class Comparison {
  #expected
  #rest = Buffer.alloc(0)
  received = 0

  constructor(seed, length) {
    this.#expected = pieces(seed, length)
  }

  /** Throws where they differ. */
  add(bytes) {
    for (let at = 0; at < bytes.length; ) {
      if (this.#rest.length === 0) this.#rest = this.#expected.next().value ?? Buffer.alloc(0)
      const count = Math.min(bytes.length - at, this.#rest.length)
      if (count === 0) throw new Error(`more than the ${this.received} bytes expected`)
      if (!bytes.subarray(at, at + count).equals(this.#rest.subarray(0, count))) {
        throw new Error(`wrong bytes within ${count} from byte ${this.received} on`)
      }
      this.#rest = this.#rest.subarray(count)
      this.received += count
      at += count
    }
  }
}

export const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex')
