/**
 * What comes first on a connection of the portable engine is looked at no more often than its length asks
 * for.
 */
import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import { describe, expect, test, vi } from 'vitest'
import { type Prologue, readPrologue } from '../../../src/engine/portable/prologue.js'
import { parseProxyHeader } from '../../../src/engine/portable/proxy.js'
import { ClientHelloReader } from '../../../src/engine/portable/tls.js'
import { GrowingBuffer } from '../../../src/util/growing-buffer.js'

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
    for (const length of [1_000, 4_000, 10_000, 60_000]) {
      const bytes = clientHello(length, recordLength)
      if (bytes.length > 64 * 1024) continue
      // What the reader has looked at it does not ask for again.
      const copied = vi.spyOn(GrowingBuffer.prototype, 'copy')
      const hello = new ClientHelloReader()
      let looks = 0
      for (let end = 1; end <= bytes.length; end++) {
        looks += 1
        if (typeof hello.read(bytes.subarray(0, end)) !== 'number') break
      }
      expect(looks).toBe(bytes.length)
      expect(copied.mock.calls.reduce((sum, [part]) => sum + part.length, 0)).toBe(4 + length)
      copied.mockRestore()
    }
  })

  test('a ClientHello is enough, whatever part of a record is behind it', () => {
    const hello = clientHello(1000, 16_000)
    // Version, random, no session, no ciphers, no compression; one extension, with the name.
    hello.writeUInt16BE(10, 9 + 2 + 32 + 4)
    hello.write('\0\0\0\x05\0\x03\0\0\x01a', 9 + 2 + 32 + 4 + 2, 'latin1')
    for (const more of [[22], [22, 3, 3, 0], [22, 3, 3, 0, 200, 1], [20, 3, 3, 0, 1, 1]]) {
      const bytes = Buffer.concat([hello, Buffer.from(more)])
      expect(new ClientHelloReader().read(bytes)).toEqual({ value: 'a', length: 0 })
    }
  })

  test('bytes in which OpenSSL could find a ClientHello, but this does not, are refused', () => {
    const hello = clientHello(100, 16_000)
    const halves = clientHello(100, 60)
    const [alert, empty] = [Buffer.from([21, 3, 1, 0, 2, 1, 0]), Buffer.from([22, 3, 1, 0, 0])]
    const refused = {
      'an alert before it': Buffer.concat([alert, hello]),
      'an alert in it': Buffer.concat([halves.subarray(0, 65), alert, halves.subarray(65)]),
      'an empty record before it': Buffer.concat([empty, hello]),
      'an empty record in it': Buffer.concat([halves.subarray(0, 65), empty, halves.subarray(65)]),
      'more than 64 KiB': clientHello(65_536, 16_000),
      'more than 64 KiB with the heads of records': clientHello(12_000, 1),
      'another message': Buffer.concat([Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]), hello]),
      'the form of SSL 2.0': Buffer.concat([Buffer.from([0x80, 0x2e, 1, 3, 3]), Buffer.alloc(0x2b)]),
      'a length that leads beyond its end': clientHello(36, 16_000),
    }
    for (const [what, bytes] of Object.entries(refused)) {
      expect([what, new ClientHelloReader().read(bytes)]).toEqual([what, 'invalid'])
      // And byte by byte, or one that is too long could wait for ever.
      const hello = new ClientHelloReader()
      let found: Prologue<string> = 0
      for (let end = 1; typeof found === 'number' && end <= bytes.length; end++) found = hello.read(bytes.subarray(0, end))
      expect([what, found]).toEqual([what, 'invalid'])
    }
  })

  test('a ClientHello without extensions asks for no name', () => {
    // Version, random, no session, one cipher, one compression.
    const hello = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from([0, 0, 2, 0, 0x2f, 1, 0])])
    const bytes = Buffer.concat([Buffer.from([22, 3, 1, 0, hello.length + 4, 1, 0, 0, hello.length]), hello])
    expect(new ClientHelloReader().read(bytes)).toEqual({ value: '', length: 0 })
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
      expect(new ClientHelloReader().read(Buffer.concat(chunks))).toEqual({ value: 'some.example', length: 0 })
    })
  })
})
