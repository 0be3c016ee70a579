/**
 * The real length and memory of a Uint8Array. Its `length`, `buffer` and `byteOffset` are ordinary
 * properties, which a subclass or an assignment can override; access to memory must not depend on them.
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

/** The number of bytes; 0 for a detached array. */
export const byteLengthOf = getter<number>('byteLength')

/** The same memory under a plain Uint8Array, whose properties are not overridden. */
export function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bufferOf(bytes), byteOffsetOf(bytes), byteLengthOf(bytes))
}

/** The same memory as a Buffer; empty for a detached array. */
export function bufferOver(bytes: Uint8Array): Buffer {
  const length = byteLengthOf(bytes)
  return length === 0 ? Buffer.alloc(0) : Buffer.from(bufferOf(bytes), byteOffsetOf(bytes), length)
}
