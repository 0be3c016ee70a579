/**
 * Reads and writes the bytes of the channel. Every message runs this code, whose forms were chosen by
 * measurement.
 */
import { Buffer } from 'node:buffer'
import { byteLengthOf } from '../../util/bytes.js'
import type { Payload } from '../contract.js'

/**
 * Up to this many characters or bytes a loop is quicker than a call, for bytes where the thread has slept:
 * the call needs 20 more lines of the caches, which is more than the 40 ns that it saves a busy thread.
 */
const SHORT_TEXT = 24
const SHORT_BYTES = 24
/** As above, where the call is Buffer.copy. */
const SHORT_COPY = 32
/** Bytes (https://webassembly.github.io/spec/core/exec/runtime.html#page-size). */
const WASM_PAGE = 64 * 1024

/** As much of it as is used here: neither the libraries of `tsconfig.json` nor Node's types have it. */
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}

/** An element that is known to be there. */
export function at(words: Uint32Array, index: number): number {
  // noUncheckedIndexedAccess cannot know that the index is in range; a check would cost on every message.
  return words[index] as number
}

/** Bytes, or UTF-16 units of a string. */
export function sizeOf(data: Payload): number {
  return typeof data === 'string' ? data.length : byteLengthOf(data)
}

/** Memory of its own, not a piece of Node's pool. */
export function newMemory(size: number): Buffer {
  return Buffer.allocUnsafeSlow(size)
}

/**
 * Memory that no code can detach, however a view of it is passed on: that of WebAssembly. Undefined where
 * there is none: the process may have no WebAssembly, or too small an address space, of which V8 takes 8 GiB.
 */
export function fixedMemory(size: number): Buffer | undefined {
  const pages = size / WASM_PAGE
  try {
    return Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer)
  } catch {
    return undefined
  }
}

export function memoryOf(buffer: Buffer): ArrayBuffer {
  // allocUnsafeSlow gives every Buffer an ArrayBuffer of its own, never a SharedArrayBuffer.
  return buffer.buffer as ArrayBuffer
}

export function wordsOf(buffer: Buffer): Uint32Array {
  return new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length >>> 2)
}

/** Writes UTF-8, and returns how many bytes it took. There is room for three bytes for each UTF-16 unit. */
export function writeText(target: Buffer, start: number, text: string): number {
  const length = text.length
  if (length <= SHORT_TEXT) {
    let i = 0
    for (; i < length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0x7f) break
      target[start + i] = unit
    }
    if (i === length) return length
  }
  return target.write(text, start, 'utf8')
}

export function writeBytes(target: Buffer, start: number, bytes: Uint8Array, length: number): number {
  if (length <= SHORT_BYTES) {
    for (let i = 0; i < length; i++) target[start + i] = bytes[i] as number // within its length
  } else {
    target.set(bytes, start)
  }
  return length
}

/** A copy: what a handler keeps is never written again. */
export function readBytes(source: Buffer, start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  copyBytes(source, start, length, bytes)
  return bytes
}

export function copyBytes(source: Buffer, start: number, length: number, target: Buffer): void {
  if (length <= SHORT_COPY) {
    for (let i = 0; i < length; i++) target[i] = source[start + i] as number // within its length
  } else {
    source.copy(target, 0, start, start + length)
  }
}

export function readText(source: Buffer, start: number, length: number): string {
  return length === 0 ? '' : source.toString('utf8', start, start + length)
}
