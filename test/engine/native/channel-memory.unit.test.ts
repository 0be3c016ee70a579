import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  newMemory,
  readBytes,
  readText,
  sizeOf,
  wordsOf,
  writeBytes,
  writeText,
} from '../../../src/engine/native/channel-memory.js'

/** Lengths on both sides of each length at which another way is taken. */
const LENGTHS = [0, 1, 12, 13, 24, 25, 32, 33, 1000]

describe('the memory that is shared with C++', () => {
  test.each(LENGTHS)('gives back %i bytes as a copy', (length) => {
    const memory = newMemory(2048)
    const bytes = randomBytes(length)
    expect(writeBytes(memory, 8, bytes, length)).toBe(length)
    const read = readBytes(memory, 8, length)
    memory.fill(0)
    expect(read.equals(bytes)).toBe(true)
  })

  test.each(LENGTHS)('gives back text of %i characters, of ASCII and others', (length) => {
    for (const character of ['a', 'é', '€']) {
      const memory = newMemory(4096)
      const text = character.repeat(length)
      const written = writeText(memory, 8, text)
      expect(written).toBe(Buffer.byteLength(text))
      expect(readText(memory, 8, written)).toBe(text)
    }
  })

  test('keeps text whose last character alone is not ASCII', () => {
    const memory = newMemory(128)
    expect(readText(memory, 0, writeText(memory, 0, 'only the last one: é'))).toBe('only the last one: é')
  })

  test('writes nothing outside of its place', () => {
    const memory = newMemory(64).fill('.')
    writeBytes(memory, 8, Buffer.from('bytes'), 5)
    writeText(memory, 16, 'text')
    expect(memory.toString('latin1')).toBe(`${'.'.repeat(8)}bytes...text${'.'.repeat(44)}`)
  })

  test('is seen as bytes and as words of 32 bits', () => {
    const memory = newMemory(16).fill(0)
    wordsOf(memory)[1] = 0x01020304
    expect([...memory.subarray(4, 8)].sort()).toEqual([1, 2, 3, 4])
  })

  test('has room for what sizeOf says: characters of a string, or bytes', () => {
    expect(sizeOf('a€')).toBe(2)
    expect(sizeOf(new Uint8Array(3))).toBe(3)
    expect(sizeOf(new Uint8Array(new ArrayBuffer(8), 2, 4))).toBe(4)
  })
})
