/**
 * Parts of the portable engine that read what comes in pieces: wherever it is cut, the result is the same.
 */
import { describe, expect, test } from 'vitest'
import { unmask } from '../../../src/engine/portable/mask.js'
import { RequestEnds } from '../../../src/engine/portable/request-ends.js'
import { Utf8Check } from '../../../src/engine/portable/utf8.js'
import { GrowingBuffer } from '../../../src/util/growing-buffer.js'

/** Numbers that look random, and are the same each time (Park and Miller). */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
}

function cut(bytes: Buffer, next: (below: number) => number, longest: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + next(longest)
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}

describe('Utf8Check', () => {
  test('says of pieces what TextDecoder says of the whole', () => {
    const next = numbers(1)
    const parts = ['a', 'ß', '€', '😀', '\u{d7ff}', '\u{e000}', '\u{10ffff}'].map((part) => Buffer.from(part))
    const odd = [
      [0x80],
      [0xc0, 0xaf],
      [0xe0, 0x80, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf8],
      [0xff],
      [0xc3],
      [0xe2, 0x82],
    ]
    let bad = 0
    for (let round = 0; round < 3000; round++) {
      const pieces = Array.from({ length: 1 + next(30) }, () => parts[next(parts.length)] ?? Buffer.alloc(0))
      if (round % 2 === 0) pieces.splice(next(pieces.length), 0, Buffer.from(odd[next(odd.length)] ?? []))
      const whole = Buffer.concat(pieces)
      const check = new Utf8Check()
      const isGood = cut(whole, next, 1 + next(9)).every((piece) => check.push(piece)) && check.isWhole
      let expected = true
      try {
        new TextDecoder('utf-8', { fatal: true }).decode(whole)
      } catch {
        expected = false
      }
      expect(isGood, whole.toString('hex')).toBe(expected)
      if (!expected) bad += 1
    }
    expect(bad).toBeGreaterThan(1000)
  })

  test.each(['f490', 'eda0', 'e080', 'f080', 'c0', '80', 'f5'])('knows at once that %s begins no text', (bytes) => {
    expect(new Utf8Check().push(Buffer.from(bytes, 'hex'))).toBe(false)
  })
})

describe('unmask', () => {
  test('is the XOR of RFC 6455, section 5.3, wherever a piece begins in payload and memory', () => {
    const mask = Buffer.from([0x12, 0x34, 0x56, 0xf8])
    for (const length of [0, 1, 3, 4, 63, 64, 65, 66, 67, 200]) {
      for (let place = 0; place < 8; place++) {
        for (let offset = 0; offset < 5; offset++) {
          const piece = Buffer.alloc(length + 8).subarray(place, place + length)
          for (let at = 0; at < length; at++) piece[at] = at
          unmask(piece, mask.readInt32LE(), offset)
          const expected = Array.from({ length }, (_, at) => at ^ (mask[(offset + at) & 3] ?? 0))
          expect([...piece]).toEqual(expected)
        }
      }
    }
  })
})

describe('GrowingBuffer', () => {
  test('gives what was put into it, in its order, and never writes into what it was given', () => {
    const next = numbers(2)
    const buffer = new GrowingBuffer()
    let expected = Buffer.alloc(0)
    const given: [piece: Buffer, copy: Buffer][] = []
    for (let round = 0; round < 5000; round++) {
      if (next(3) > 0) {
        const piece = Buffer.alloc(next(300), round)
        given.push([piece, Buffer.from(piece)])
        buffer.append(piece)
        expected = Buffer.concat([expected, piece])
      } else {
        const length = next(buffer.length + 1)
        buffer.drop(length)
        expected = expected.subarray(length)
      }
      expect(buffer.view.equals(expected)).toBe(true)
    }
    expect(given.every(([piece, copy]) => piece.equals(copy))).toBe(true)
  })
})

describe('RequestEnds', () => {
  const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  const body = 'one\r\n\r\ntwo\n\r\n'
  const chunks = `${body.length.toString(16).toUpperCase()};x="y"\r\n${body}\r\n1\r\nx\r\n0\r\nTrailer: z\r\n\r\n`
  const requests: [text: string, expectBody: (ends: RequestEnds) => void][] = [
    [get, (ends) => ends.expectBody(0)],
    [`POST / HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n`, (ends) => ends.expectBody(body.length)],
    ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n', (ends) => ends.expectChunks()],
  ]
  const bodies = ['', body, chunks]

  test('gives each request and each body by itself, wherever they are cut', () => {
    const next = numbers(3)
    for (let round = 0; round < 2000; round++) {
      const kinds = Array.from({ length: 1 + next(5) }, () => next(requests.length))
      const parts = kinds.flatMap((kind) => [requests[kind]?.[0] ?? '', bodies[kind] ?? ''])
      const ends = new RequestEnds()
      let [part, seen] = [0, '']
      for (const piece of cut(Buffer.from(parts.join('')), next, 1 + next(60))) {
        for (let at = 0; at < piece.length; ) {
          const { length } = ends.next(piece.subarray(at))
          expect(length).toBeGreaterThan(0)
          seen += piece.toString('latin1', at, at + length)
          at += length
          while (seen === parts[part] && part < parts.length) {
            if (part % 2 === 0) requests[kinds[part / 2] ?? 0]?.[1](ends)
            part += 1
            seen = ''
          }
          // Never anything of two parts.
          expect((parts[part] ?? '').startsWith(seen)).toBe(true)
        }
      }
      expect([part, seen]).toEqual([parts.length, ''])
    }
  })

  test('lets only so many chunks through at once', () => {
    const ends = new RequestEnds()
    ends.expectChunks()
    const { length, events } = ends.next(Buffer.from('1\r\nx\r\n'.repeat(1000)))
    expect(events).toBeLessThan(50)
    expect(length).toBeLessThan(50 * 6)
  })
})
