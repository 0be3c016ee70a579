/**
 * Compressed messages as no honest client would send them, and as odd ones do: bombs, broken data, fragments,
 * marks in wrong places.
 */
import { randomBytes } from 'node:crypto'
import { createInflateRaw } from 'node:zlib'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { CompressionOptions, Socket } from '../../src/index.js'
import { compressedText, deflateMessage, deflaterWithMemory, RSV1, textOf } from '../support/deflate.js'
import { describeEngines, type EngineName, type Served, serve } from '../support/engines.js'
import { binary, closeCode, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB
const OFFER = { headers: ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'] }
const WORDS = 'compressible '.repeat(20)

interface Echo {
  readonly served: Served
  readonly received: (string | Buffer)[]
  readonly closed: Queue<number>
}

async function echoServer(engine: EngineName, maxPayloadLength: number, compression: CompressionOptions = {}): Promise<Echo> {
  const received: (string | Buffer)[] = []
  const closed = new Queue<number>()
  const served = await serve(engine, {
    maxPayloadLength,
    compression,
    message(socket, message) {
      received.push(message)
      socket.send(message, false)
    },
    close: (_, code) => closed.push(code),
  })
  return { served, received, closed }
}

const part = (payload: Uint8Array, more: { opcode?: number; fin?: boolean; reserved?: number } = {}): Buffer =>
  frame({ opcode: OPCODE.CONTINUATION, fin: false, payload, ...more })

/** A compressed text message in pieces of so many bytes. */
function inFragments(payload: Uint8Array, size: number, between: Uint8Array = Buffer.alloc(0)): Buffer {
  const frames: Buffer[] = []
  for (let start = 0; start < payload.length; start += size) {
    const isFirst = start === 0
    const fin = start + size >= payload.length
    const opcode = isFirst ? OPCODE.TEXT : OPCODE.CONTINUATION
    frames.push(part(payload.subarray(start, start + size), { opcode, fin, reserved: isFirst ? RSV1 : 0 }))
    if (!fin) frames.push(Buffer.from(between))
  }
  return Buffer.concat(frames)
}

const VIOLATIONS: [what: string, code: number, stream: Buffer][] = [
  ['RSV1 on a Ping', 1002, frame({ opcode: OPCODE.PING, payload: deflateMessage('x'), reserved: RSV1 })],
  ['RSV1 on a Pong', 1002, frame({ opcode: OPCODE.PONG, reserved: RSV1 })],
  ['RSV1 on a Close frame', 1002, frame({ opcode: OPCODE.CLOSE, reserved: RSV1 })],
  ['RSV1 on a continuation of nothing', 1002, part(deflateMessage('x'), { fin: true, reserved: RSV1 })],
  [
    'RSV1 on a continuation of an uncompressed message',
    1002,
    Buffer.concat([text('a', { fin: false }), part(deflateMessage('x'), { fin: true, reserved: RSV1 })]),
  ],
  [
    'RSV1 on a continuation of a compressed message',
    1002,
    Buffer.concat([
      compressedText(WORDS, { payload: deflateMessage(WORDS).subarray(0, 3), fin: false }),
      part(deflateMessage(WORDS).subarray(3), { fin: true, reserved: RSV1 }),
    ]),
  ],
  ['RSV1 and RSV2', 1002, compressedText(WORDS, { reserved: 6 })],
  ['RSV1 and RSV3', 1002, compressedText(WORDS, { reserved: 5 })],
  [
    'a compressed message within a compressed one',
    1002,
    Buffer.concat([compressedText(WORDS, { fin: false }), compressedText(WORDS)]),
  ],
  [
    'a compressed message within an uncompressed one',
    1002,
    Buffer.concat([text('a', { fin: false }), compressedText(WORDS, { opcode: OPCODE.BINARY })]),
  ],
  ['a block of a type that does not exist', 1007, compressedText('', { payload: Buffer.from([0xff, 0xff, 0xff]) })],
  ['a stored block whose lengths contradict each other', 1007, compressedText('', { payload: Buffer.from([0, 5, 0, 5, 0, 1]) })],
  ['a reference to before the beginning', 1007, compressedText('', { payload: Buffer.from([2, 10, 0]) })],
  ['uncompressed text that claims to be compressed', 1007, compressedText('', { payload: Buffer.from('plain text, honestly') })],
  ['random bytes in fragments', 1007, inFragments(Buffer.alloc(100, 0xee), 7)],
  ['text that is not UTF-8, inside', 1007, compressedText(Buffer.from([0x61, 0x80, 0x62]))],
  ['text that ends within a character, inside', 1007, compressedText(Buffer.from('grüße €').subarray(0, -1))],
  ['a message of one byte too many, inside', 1009, compressedText('x'.repeat(KiB + 1))],
  ['a bomb: 64 MiB in 64 KiB', 1009, compressedText(Buffer.alloc(64 * KiB), { payload: deflateMessage(Buffer.alloc(64 * MiB)) })],
  ['a bomb in a binary message, in fragments', 1009, inFragments(deflateMessage(Buffer.alloc(MiB)), 100)],
  [
    'more compressed bytes than a message of this size could need',
    1009,
    compressedText('', { payload: deflateMessage(randomBytes(2 * KiB)) }),
  ],
  ['an uncompressed message of one byte too many', 1009, text('x'.repeat(KiB + 1))],
]

describeEngines('permessage-deflate: what is wrong with compressed messages', (engine) => {
  for (const compression of [{}, { decompressor: '256KB' }] as const) {
    test.each(VIOLATIONS)(`%s: %i, with ${JSON.stringify(compression)}`, async (_, code, stream) => {
      const { served, received, closed } = await echoServer(engine, KiB, compression)
      const other = await RawClient.open(served, OFFER)
      const client = await RawClient.open(served, OFFER)
      client.write(compressedText('before'), stream, compressedText('behind'))
      expect(textOf(await client.frame('the echo of what came before'))).toBe('before')
      expect(closeCode(await client.frame('the Close frame'))).toBe(code)
      expect(await closed.next('close')).toBe(code)
      await client.closed()
      expect(received).toEqual(['before'])
      other.write(compressedText(WORDS))
      expect(textOf(await other.frame('the echo to another client'))).toBe(WORDS)
    })
  }

  test('RSV1 where no compression was agreed on: 1002', async () => {
    const { served, closed } = await echoServer(engine, KiB)
    const client = await RawClient.open(served)
    client.write(compressedText(WORDS))
    expect(closeCode(await client.frame())).toBe(1002)
    expect(await closed.next('close')).toBe(1002)
  })

  test('a bomb costs no more memory than the limit lets a message have', async () => {
    const { served, closed } = await echoServer(engine, MiB)
    const bomb = deflateMessage(Buffer.alloc(256 * MiB))
    const before = process.memoryUsage.rss()
    const client = await RawClient.open(served, OFFER)
    client.write(frame({ opcode: OPCODE.BINARY, payload: bomb, reserved: RSV1 }))
    expect(await closed.next('close')).toBe(1009)
    expect(process.memoryUsage.rss() - before).toBeLessThan(128 * MiB)
  })
})

describeEngines('permessage-deflate: what is odd about compressed messages, and right', (engine) => {
  test.each(['shared', '32KB'] as const)(
    'sockets that are paused in long messages let others have theirs, and get their own whole: %s',
    async (decompressor) => {
      const noise = randomBytes(20 * KiB).toString('hex')
      const long = noise.repeat(60) // 2.4 MB: more than a turn's share
      const paused = new Queue<Socket<{ isPaused: boolean }>>()
      const [atPaused, atOthers] = [new Queue<string>(), new Queue<string>()]
      const served = await serve<{ isPaused: boolean }>(engine, {
        maxPayloadLength: 8 * MiB,
        compression: { decompressor },
        upgrade: () => ({ data: { isPaused: false } }),
        message(socket, message) {
          if (message === 'pause') {
            socket.pause()
            socket.data.isPaused = true
            paused.push(socket)
          } else if (message.length === long.length) {
            ;(socket.data.isPaused ? atPaused : atOthers).push(String(message))
          }
        },
      })
      // With memory, the long message refers to the one before it.
      const open = async (...between: Buffer[]) => {
        const client = await RawClient.open(served, OFFER)
        const compress = decompressor === 'shared' ? deflateMessage : deflaterWithMemory()
        const compressed = async (message: string) =>
          frame({ opcode: OPCODE.TEXT, payload: await compress(message), reserved: RSV1 })
        client.write(await compressed(noise), ...between, await compressed(long))
      }
      for (let n = 0; n < 6; n++) await open(text('pause'))
      const sockets = await paused.take(6, 'the sockets that pause')
      for (let n = 0; n < 5; n++) await open()
      for (const message of await atOthers.take(5, 'the messages of the others')) expect(message === long).toBe(true)
      expect(atPaused.size).toBe(0)
      for (const socket of sockets) socket.resume()
      for (const message of await atPaused.take(6, 'the messages of those that were paused')) expect(message === long).toBe(true)
    },
  )

  test('what waits compressed of clients that have reset their connections is not inflated', async () => {
    const { served, received, closed } = await echoServer(engine, 4 * MiB)
    const clients = await Promise.all(Array.from({ length: 30 }, () => RawClient.open(served, OFFER)))
    const message = frame({ opcode: OPCODE.BINARY, payload: deflateMessage(Buffer.alloc(4 * MiB)), reserved: RSV1 })
    // As much as is read at once.
    for (const client of clients) client.write(...Array<Buffer>(14).fill(message))
    await Promise.all(clients.map((client) => client.flushed()))
    for (const client of clients) client.reset()
    for (const code of await closed.take(30, 'the close events')) expect(code).toBe(1006)
    expect(received.length).toBeLessThan(100)
  })

  test.each([1, 2, 7, 50])('fragments of %i bytes with Pings in between', async (size) => {
    const { served } = await echoServer(engine, MiB)
    const client = await RawClient.open(served, OFFER)
    const payload = deflateMessage(WORDS)
    client.write(inFragments(payload, size, frame({ opcode: OPCODE.PING, payload: 'between' })), compressedText('next'))
    const pings = Math.ceil(payload.length / size) - 1
    for (let index = 0; index < pings; index++) expect(await client.frame()).toMatchObject({ opcode: OPCODE.PONG })
    expect(textOf(await client.frame())).toBe(WORDS)
    expect(textOf(await client.frame())).toBe('next')
  })

  test('empty fragments, first, last and in between', async () => {
    const { served } = await echoServer(engine, MiB)
    const client = await RawClient.open(served, OFFER)
    const payload = deflateMessage(WORDS)
    const empty = Buffer.alloc(0)
    client.write(
      part(empty, { opcode: OPCODE.TEXT, reserved: RSV1 }),
      part(payload.subarray(0, 5)),
      part(empty),
      part(payload.subarray(5)),
      part(empty, { fin: true }),
    )
    expect(textOf(await client.frame())).toBe(WORDS)
  })

  test('fragments of one byte that come together are inflated together', async () => {
    const { served, received } = await echoServer(engine, MiB)
    const words = randomBytes(4000).toString('hex')
    const stream = inFragments(deflateMessage(words), 1)
    const client = await RawClient.open(served, OFFER)
    const flush = vi.spyOn(Object.getPrototypeOf(createInflateRaw()), 'flush')
    onTestFinished(() => flush.mockRestore())
    client.write(stream)
    expect((await client.frame()).payload.toString()).toBe(words)
    expect(received).toEqual([words])
    // Once for each 256 of more than 4,000 bytes, and once for each read.
    expect(flush.mock.calls.length).toBeLessThan(200)
  })

  test('bytes that come one at a time', async () => {
    const { served } = await echoServer(engine, MiB)
    const client = await RawClient.open(served, OFFER)
    // Its frame has a length of two bytes, which may be cut in the middle.
    const long = randomBytes(150).toString('hex')
    for (const byte of Buffer.concat([compressedText(WORDS), compressedText(long), text('plain'), compressedText(WORDS)])) {
      client.write(Uint8Array.of(byte))
      await client.flushed()
      await turns(1)
    }
    for (const expected of [WORDS, long, 'plain', WORDS]) expect(textOf(await client.frame())).toBe(expected)
  })

  test('empty messages, as an empty block and as nothing at all', async () => {
    for (const decompressor of ['shared', '256KB'] as const) {
      const { served, received } = await echoServer(engine, MiB, { decompressor })
      const client = await RawClient.open(served, OFFER)
      client.write(
        compressedText('', { payload: Uint8Array.of(0) }), // RFC 7692, section 7.2.3.6
        compressedText(WORDS),
        compressedText('', { payload: Uint8Array.of(0) }),
        binary('', { reserved: RSV1 }),
      )
      for (let index = 0; index < 4; index++) await client.frame()
      expect(received).toEqual(['', WORDS, '', Buffer.alloc(0)])
    }
  })

  test('the examples of RFC 7692, section 7.2.3', async () => {
    for (const decompressor of ['shared', '256KB'] as const) {
      const { served } = await echoServer(engine, MiB, { decompressor })
      const client = await RawClient.open(served, OFFER)
      const examples = [
        'f2 48 cd c9 c9 07 00', // one block
        '00 05 00 fa ff 48 65 6c 6c 6f 00', // without compression
        'f3 48 cd c9 c9 07 00 00', // a final block
        'f2 48 05 00 00 00 ff ff ca c9 c9 07 00', // two blocks
      ]
      for (const example of examples) {
        client.write(compressedText('', { payload: Buffer.from(example.replaceAll(' ', ''), 'hex') }))
        expect(textOf(await client.frame(example))).toBe('Hello')
      }
    }
  })

  test('a client that remembers what it sent, with other clients in between', async () => {
    const { served } = await echoServer(engine, MiB, { decompressor: '256KB' })
    const [first, second] = [await RawClient.open(served, OFFER), await RawClient.open(served, OFFER)]
    const [deflateFirst, deflateSecond] = [deflaterWithMemory(), deflaterWithMemory()]
    for (let index = 0; index < 20; index++) {
      for (const [client, deflate] of [
        [first, deflateFirst],
        [second, deflateSecond],
      ] as const) {
        const words = `${WORDS}${index}`
        client.write(inFragments(await deflate(words), 4))
        expect(textOf(await client.frame())).toBe(words)
      }
    }
  })

  test('messages of exactly the limit, however long they are when compressed', async () => {
    for (const decompressor of ['shared', '256KB'] as const) {
      const { served, received, closed } = await echoServer(engine, 100 * KiB, { decompressor })
      const client = await RawClient.open(served, OFFER)
      const noise = randomBytes(100 * KiB)
      const payload = deflateMessage(noise)
      expect(payload.length).toBeGreaterThan(100 * KiB)
      client.write(
        binary(payload, { reserved: RSV1 }),
        compressedText('x'.repeat(100 * KiB)),
        part(payload.subarray(0, 60 * KiB), { opcode: OPCODE.BINARY, reserved: RSV1 }),
        part(payload.subarray(60 * KiB), { fin: true }),
      )
      for (let index = 0; index < 3; index++) await client.frame()
      expect(received).toEqual([noise, 'x'.repeat(100 * KiB), noise])
      client.write(compressedText('x'.repeat(100 * KiB + 1)))
      expect(await closed.next('close')).toBe(1009)
    }
  })

  test('1 MiB at once, and from many clients in turn', async () => {
    const { served } = await echoServer(engine, 2 * MiB)
    const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(served, OFFER)))
    const words = randomBytes(40)
      .toString('hex')
      .repeat(MiB / 80)
    for (const client of clients) client.write(compressedText(words), compressedText('short'))
    for (const client of clients) {
      expect(textOf(await client.frame()) === words).toBe(true)
      expect(textOf(await client.frame())).toBe('short')
    }
  })
})
