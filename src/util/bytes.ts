/**
 * What a Uint8Array really is. Its `length`, `buffer` and `byteOffset` are ordinary properties, which a
 * subclass or a careless hand can override; memory must not depend on them.
 */

import { Buffer } from 'node:buffer'

const prototype: object = Object.getPrototypeOf(Uint8Array.prototype)

function getter<T>(name: string): (bytes: Uint8Array) => T {
  const get = Object.getOwnPropertyDescriptor(prototype, name)?.get
  if (get === undefined) throw new Error(`%TypedArray%.prototype.${name} is not a getter`)
  // ECMAScript says what each of these getters returns.
  return Function.prototype.call.bind(get) as (bytes: Uint8Array) => T
}

const bufferOf = getter<ArrayBuffer>('buffer')
const byteOffsetOf = getter<number>('byteOffset')

/** The number of bytes; 0 when the memory was transferred away. */
export const byteLengthOf = getter<number>('byteLength')

/** The same memory under an object that nobody has tampered with. */
export function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bufferOf(bytes), byteOffsetOf(bytes), byteLengthOf(bytes))
}

/** The same memory as a Buffer; empty when it was transferred away. */
export function bufferOver(bytes: Uint8Array): Buffer {
  const length = byteLengthOf(bytes)
  return length === 0 ? Buffer.alloc(0) : Buffer.from(bufferOf(bytes), byteOffsetOf(bytes), length)
}
