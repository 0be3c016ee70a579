/** What comes first on a connection of the portable engine is looked at no more often than its length asks for. */
import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { readPrologue } from '../../src/engine/portable-prologue.js'
import { parseProxyHeader } from '../../src/engine/portable-proxy.js'
import { parseServerName } from '../../src/engine/portable-tls.js'

/** Looks at the first bytes of something as often as a connection would that brings one byte at a time. */
function bytesLookedAt(bytes: Buffer, parse: (bytes: Buffer) => unknown): number {
  let needed = 1
  let looked = 0
  for (let length = 1; length <= bytes.length; length++) {
    if (length < needed) continue
    const found = parse(bytes.subarray(0, length))
    looked += length
    if (typeof found !== 'number') return looked
    expect(found).toBeGreaterThan(length)
    needed = found
  }
  throw new Error('nothing was found')
}

/** A ClientHello of some length, in records of so many bytes each. */
function clientHello(length: number, recordLength: number): Buffer {
  const message = Buffer.alloc(4 + length)
  message[0] = 1
  message.writeUIntBE(length, 1, 3)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += recordLength) {
    const content = message.subarray(at, at + recordLength)
    const head = Buffer.from([22, 3, 1, 0, 0])
    head.writeUInt16BE(content.length, 3)
    records.push(head, content)
  }
  return Buffer.concat(records)
}

describe('what comes before the protocol, a byte at a time', () => {
  test.each([1, 500, 2_000, 16_000])('a ClientHello in records of %i bytes', (recordLength) => {
    // One that comes in more than 64 records is given up, so that the number of looks is bounded as well as their length.
    for (const length of [1_000, 4_000, 16_000, 60_000]) {
      const hello = clientHello(length, recordLength)
      expect(bytesLookedAt(hello, parseServerName)).toBeLessThan(hello.length * 8)
    }
  })

  test('a ClientHello is enough, whatever part of a record is behind it', () => {
    const hello = clientHello(1000, 16_000)
    // Version, random, no session, no ciphers, no compression; one extension, with the name.
    hello.writeUInt16BE(10, 9 + 2 + 32 + 4)
    hello.write('\0\0\0\x05\0\x03\0\0\x01a', 9 + 2 + 32 + 4 + 2, 'latin1')
    for (const more of [[22], [22, 3, 3, 0], [22, 3, 3, 0, 200, 1], [20, 3, 3, 0, 1, 1]]) {
      const bytes = Buffer.concat([hello, Buffer.from(more)])
      expect(parseServerName(bytes)).toEqual({ value: 'a', length: 0 })
    }
  })

  test('a PROXY header', () => {
    const looked = (length: number) => {
      const header = Buffer.alloc(16 + length)
      header.write('\r\n\r\n\0\r\nQUIT\n', 'latin1')
      header.writeUInt16BE(0x2000, 12)
      header.writeUInt16BE(length, 14)
      return bytesLookedAt(header, parseProxyHeader)
    }
    expect(looked(16_000)).toBeLessThan(looked(4_000) * 4.1)
  })

  test('is put together, and what follows is put back', async () => {
    const socket = new Duplex({ read() {}, write() {} })
    const found = new Promise<string>((resolve) =>
      // The parser asks for 300 bytes, and finds 200 of them.
      readPrologue(
        socket as never,
        (bytes) => (bytes.length < 300 ? 300 : { value: bytes.toString('latin1', 0, 200), length: 200 }),
        resolve,
      ),
    )
    const sent = Buffer.from(Array.from({ length: 301 }, (_, index) => index % 256))
    for (const byte of sent) socket.push(Buffer.of(byte))
    expect(await found).toBe(sent.toString('latin1', 0, 200))
    expect(socket.read()?.subarray(0, 100)).toEqual(sent.subarray(200, 300))
  })

  test('a real ClientHello tells its name', () => {
    const chunks: Buffer[] = []
    const socket = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        chunks.push(chunk)
        done()
      },
    })
    const client = connect({ socket, servername: 'Some.Example' })
    client.on('error', () => {})
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      client.destroy()
      expect(parseServerName(Buffer.concat(chunks))).toEqual({ value: 'some.example', length: 0 })
    })
  })
})
