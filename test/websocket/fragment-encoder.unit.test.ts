import { describe, expect, test } from 'vitest'
import type { Payload } from '../../src/engine/contract.js'
import { FragmentEncoder } from '../../src/websocket/fragment-encoder.js'

/** The bytes of all fragments together. */
function encoded(chunks: readonly Payload[], isBinary?: boolean): Buffer {
  const encoder = new FragmentEncoder(isBinary)
  const fragments = chunks.map((chunk) => encoder.encode(chunk))
  return Buffer.concat([...fragments, encoder.end()])
}

describe('a message that is sent in chunks', () => {
  test('has the kind of its first chunk where none was asked for', () => {
    for (const [chunk, isBinary] of [
      ['text', false],
      [Buffer.from('bytes'), true],
    ] as const) {
      const encoder = new FragmentEncoder(undefined)
      encoder.encode(chunk)
      expect(encoder.isBinary).toBe(isBinary)
    }
  })

  test('is the same text, wherever strings are cut, in the middle of a surrogate pair too', () => {
    const text = 'a€😀b😀'
    for (let cut = 0; cut <= text.length; cut++) {
      expect(encoded([text.slice(0, cut), text.slice(cut)]).toString(), `cut at ${cut}`).toBe(text)
    }
  })

  test('is the same text, wherever its bytes are cut', () => {
    const bytes = Buffer.from('a€😀b')
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(encoded([bytes.subarray(0, cut), bytes.subarray(cut)], false), `cut at ${cut}`).toEqual(bytes)
    }
  })

  test('has U+FFFD for a half of a pair that stays alone, before a string, before bytes and at the end', () => {
    const half = '😀'.slice(0, 1)
    expect(encoded([half, 'x']).toString()).toBe('\ufffdx')
    expect(encoded([half, Buffer.from('x')], false).toString()).toBe('\ufffdx')
    expect(encoded([half, Buffer.from('x')], true).toString()).toBe('\ufffdx')
    expect(encoded([half]).toString()).toBe('\ufffd')
  })

  test('takes strings into a binary message as UTF-8, and bytes as they are', () => {
    expect(encoded(['€', Buffer.from([0xff, 0])], true)).toEqual(Buffer.from([0xe2, 0x82, 0xac, 0xff, 0]))
  })

  test.each([
    ['bytes that are not UTF-8', [Buffer.from([0xff])]],
    ['a character that a string cuts', [Buffer.from([0xe2, 0x82]), 'x']],
    ['a character that the end cuts', [Buffer.from([0xe2, 0x82])]],
  ])('of text refuses %s', (_what, chunks) => {
    expect(() => encoded(chunks, false)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })

  test('keeps a byte order mark', () => {
    expect(encoded([Buffer.from('\ufeffa')], false)).toEqual(Buffer.from('\ufeffa'))
  })
})
