/**
 * Violations of RFC 6455: each ends its connection with the code that the RFC names, seen by the client in
 * the Close frame and by the server in `close`, and disturbs no other client.
 */
import { describe, expect, test } from 'vitest'
import { Client } from '../support/client.js'
import { deflateMessage, RSV1 } from '../support/deflate.js'
import { describeEngines, type EngineName, serve } from '../support/engines.js'
import { binary, closeCode, closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

const LIMIT = 1000
const continuation = (payload: string | Uint8Array, fin = true): Buffer => frame({ opcode: OPCODE.CONTINUATION, payload, fin })
const bytes = (...values: number[]): Buffer => Buffer.from(values)

const VIOLATIONS: [what: string, code: number, stream: Buffer[]][] = [
  ['an unmasked text frame', 1002, [text('not masked', { masked: false })]],
  ['an unmasked binary frame of 70,000 bytes', 1002, [binary(Buffer.alloc(70_000), { masked: false })]],
  ['an unmasked empty frame before others', 1002, [text('', { masked: false }), text('masked')]],
  ['an unmasked Ping', 1002, [frame({ opcode: OPCODE.PING, masked: false, payload: 'not masked' })]],
  ['RSV1 without an extension', 1002, [text('x', { reserved: 4 })]],
  ['RSV2', 1002, [text('x', { reserved: 2 })]],
  ['RSV3', 1002, [binary('x', { reserved: 1 })]],
  ['all reserved bits on a Ping', 1002, [frame({ opcode: OPCODE.PING, reserved: 7 })]],
  ...[3, 4, 5, 6, 7].map((opcode): [string, number, Buffer[]] => [
    `the reserved opcode ${opcode}`,
    1002,
    [frame({ opcode, payload: 'x' })],
  ]),
  ...[11, 12, 13, 14, 15].map((opcode): [string, number, Buffer[]] => [
    `the reserved control opcode ${opcode}`,
    1002,
    [frame({ opcode })],
  ]),
  ['a fragmented Ping', 1002, [frame({ opcode: OPCODE.PING, fin: false })]],
  ['a fragmented Pong', 1002, [frame({ opcode: OPCODE.PONG, fin: false, payload: 'x' })]],
  ['a fragmented Close', 1002, [frame({ opcode: OPCODE.CLOSE, fin: false })]],
  ['a Ping of 126 bytes', 1002, [frame({ opcode: OPCODE.PING, payload: Buffer.alloc(126) })]],
  ['a Pong of 70,000 bytes', 1002, [frame({ opcode: OPCODE.PONG, payload: Buffer.alloc(70_000) })]],
  ['a Close of 126 bytes', 1002, [closeFrame(1000, 'x'.repeat(124))]],
  ['a continuation of nothing', 1002, [continuation('x')]],
  ['a continuation after a whole message', 1002, [text('whole'), continuation('x')]],
  ['a new message within a fragmented one', 1002, [text('a', { fin: false }), text('b')]],
  ['a new binary message within a fragmented one', 1002, [binary('a', { fin: false }), binary('b')]],
  ['a new binary message within a fragmented text', 1002, [text('a', { fin: false }), binary('b', { fin: false })]],
  ['a Close frame of one byte', 1002, [frame({ opcode: OPCODE.CLOSE, payload: 'x' })]],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code): [string, number, Buffer[]] => [
    `a Close frame with the code ${code}`,
    1002,
    [closeFrame(code, 'reason')],
  ]),
  ['a length of more than 63 bits', 1009, [frame({ opcode: OPCODE.BINARY, claimedLength: 0xffff_ffff_ffff_ffffn })]],
  ['a Close reason that is not UTF-8', 1007, [closeFrame(1000, bytes(0xff, 0xfe))]],
  ['text that is not UTF-8', 1007, [text(bytes(0x61, 0x80, 0x62))]],
  ['text that ends within a character', 1007, [text(Buffer.from('grüße €').subarray(0, -1))]],
  ['an overlong encoding', 1007, [text(bytes(0xc0, 0xaf))]],
  ['an overlong encoding of three bytes', 1007, [text(bytes(0xe0, 0x80, 0xaf))]],
  ['an encoded surrogate', 1007, [text(bytes(0xed, 0xa0, 0x80))]],
  ['a code point above U+10FFFF', 1007, [text(bytes(0xf4, 0x90, 0x80, 0x80))]],
  ['the byte 0xFF', 1007, [text(bytes(0xff))]],
  ['invalid UTF-8 at the end of a long text', 1007, [text(Buffer.concat([Buffer.alloc(900, 'a'), bytes(0xc3)]))]],
  [
    'invalid UTF-8 in a later fragment',
    1007,
    [text('fine ', { fin: false }), continuation('fine ', false), continuation(bytes(0xc3, 0x28))],
  ],
  ['a character that fragments break for good', 1007, [text(bytes(0xe2, 0x82), { fin: false }), continuation('x')]],
  ['fragments that end within a character', 1007, [text('a', { fin: false }), continuation(bytes(0xf0, 0x9f, 0x98))]],
  ['a text over the limit', 1009, [text('x'.repeat(LIMIT + 1))]],
  ['a binary message over the limit', 1009, [binary(Buffer.alloc(LIMIT * 100))]],
  [
    'fragments that are over the limit together',
    1009,
    [binary(Buffer.alloc(600), { fin: false }), continuation(Buffer.alloc(401))],
  ],
  ['a length over the limit that is only announced', 1009, [frame({ opcode: OPCODE.BINARY, claimedLength: 1n << 40n })]],
]

interface Watched {
  readonly client: RawClient
  readonly witness: Client
  readonly ends: Queue<[code: number, readyState: number]>
  readonly messages: Queue<string | Buffer>
}

async function watch(engine: EngineName, maxPayloadLength: number): Promise<Watched> {
  const ends = new Queue<[number, number]>()
  const messages = new Queue<string | Buffer>()
  const served = await serve(
    engine,
    {
      maxPayloadLength,
      message: (_, message) => messages.push(message),
      close: (socket, code) => ends.push([code, socket.readyState]),
    },
    { routes: (server) => server.ws('/witness', { message: (socket, message) => void socket.send(message) }) },
  )
  return { client: await RawClient.open(served), witness: await Client.open(served, '/witness'), ends, messages }
}

describeEngines('a violation of the protocol', (engine) => {
  for (const [what, code, stream] of VIOLATIONS) {
    test(`${what} ends the connection with ${code}`, async () => {
      const { client, witness, ends, messages } = await watch(engine, LIMIT)
      const whole = what.endsWith('after a whole message') ? 1 : 0
      client.write(...stream)
      expect(closeCode(await client.frame('the Close frame'))).toBe(code)
      expect((await client.rest()).length).toBe(0)
      expect(await ends.next('close')).toEqual([code, 3])
      expect(messages.size).toBe(whole)
      expect(await witness.ask('undisturbed')).toBe('undisturbed')
    })
  }

  test('comes after the messages before it, and ends the ones after it', async () => {
    const { client, ends, messages } = await watch(engine, LIMIT)
    client.write(text('one'), text('two'), text(bytes(0xff)), text('three'))
    expect(await messages.take(2, 'messages')).toEqual(['one', 'two'])
    expect(await ends.next('close')).toEqual([1007, 3])
    expect(closeCode(await client.frame())).toBe(1007)
    await client.closed()
    expect(messages.size).toBe(0)
  })

  test('from a client that does not wait for the answer is seen all the same', async () => {
    const { client, ends } = await watch(engine, LIMIT)
    client.write(text('not masked', { masked: false }))
    await client.flushed()
    client.vanish()
    expect((await ends.next('close'))[0]).toBe(1002)
  })

  test('by the ws package, over the limit, is 1009 there too', async () => {
    const ends = new Queue<number>()
    const served = await serve(engine, { maxPayloadLength: 100_000, close: (_, code) => ends.push(code) })
    const client = await Client.open(served)
    client.send(Buffer.alloc(100_001))
    expect((await client.closed()).code).toBe(1009)
    expect(await ends.next('close')).toBe(1009)
  })
})

describeEngines('what is not a violation', (engine) => {
  test('a message of exactly the limit, whole or in fragments, arrives', async () => {
    const { client, messages } = await watch(engine, LIMIT)
    client.write(binary(Buffer.alloc(LIMIT, 1)))
    client.write(binary(Buffer.alloc(400, 2), { fin: false }), continuation(Buffer.alloc(600, 2)))
    client.write(text('x'.repeat(LIMIT)))
    expect(await messages.take(3, 'messages')).toEqual([Buffer.alloc(LIMIT, 1), Buffer.alloc(LIMIT, 2), 'x'.repeat(LIMIT)])
  })

  test('a small limit does not keep control frames out', async () => {
    const { client, messages } = await watch(engine, 5)
    client.write(frame({ opcode: OPCODE.PING, payload: Buffer.alloc(125, 'p') }), text('12345'))
    expect((await client.frame()).payload.length).toBe(125)
    expect(await messages.next('the message')).toBe('12345')
    client.write(closeFrame(1000, 'a reason longer than five bytes'))
    expect(closeCode(await client.frame())).toBe(1000)
  })

  test('each route has a limit of its own', async () => {
    const echo = {
      message: (socket: { send(data: string | Buffer): number }, message: string | Buffer) => void socket.send(message),
    }
    const served = await serve(
      engine,
      { ...echo, maxPayloadLength: 10 },
      {
        path: '/small',
        routes: (server) => server.ws('/large', { ...echo, maxPayloadLength: 1000 }),
      },
    )
    const [small, large] = [await Client.open(served, '/small'), await Client.open(served, '/large')]
    expect(await large.ask('x'.repeat(1000))).toBe('x'.repeat(1000))
    expect(await small.ask('x'.repeat(10))).toBe('x'.repeat(10))
    small.send('x'.repeat(11))
    expect((await small.closed()).code).toBe(1009)
    expect(await large.ask('still open')).toBe('still open')
  })

  for (const [what, payload] of [
    ['the last code point', bytes(0xf4, 0x8f, 0xbf, 0xbf)],
    ['the last code point before the surrogates', bytes(0xed, 0x9f, 0xbf)],
    ['a noncharacter', bytes(0xef, 0xbf, 0xbf)],
    ['NUL', bytes(0)],
  ] as const) {
    test(`${what} is good UTF-8`, async () => {
      const { client, messages } = await watch(engine, LIMIT)
      client.write(text(payload))
      expect(Buffer.from(String(await messages.next('the message')))).toEqual(payload)
    })
  }

  test('any bytes are good in a binary message', async () => {
    const { client, messages } = await watch(engine, LIMIT)
    const all = Buffer.from(Array.from({ length: 256 }, (_, value) => value))
    client.write(binary(all))
    expect(await messages.next('the message')).toEqual(all)
  })
})

describeEngines('text that is not UTF-8', (engine) => {
  /** "κόσμε", and what Autobahn's cases 6.4 put behind it: F4 90 begins no character. */
  const good = Buffer.from('κόσμε')
  const bad = bytes(0xf4, 0x90, 0x80, 0x80)

  test.each([
    ['a fragment', [text(good, { fin: false }), continuation(bad, false)]],
    ['the first bytes of a character in a fragment', [text(good, { fin: false }), continuation(bad.subarray(0, 2), false)]],
    ['a character cut in two by fragments', [text(bytes(0xed), { fin: false }), continuation(bytes(0xa0), false)]],
    ['a piece of a frame', [text(Buffer.concat([good, bad, good])).subarray(0, -good.length)]],
    ['a piece of a frame of 100 KB', [text(Buffer.concat([bad, Buffer.alloc(100_000)])).subarray(0, 1000)]],
  ])('fails with %s, and waits for no more', async (_where, stream) => {
    const served = await serve(engine)
    const client = await RawClient.open(served)
    client.write(...stream)
    expect(closeCode(await client.frame())).toBe(1007)
  })

  describe.each(['shared', '32KB'] as const)('when that is compressed, with a decompressor of %s', (decompressor) => {
    const open = async (messages = new Queue<string | Buffer>()) => {
      const served = await serve(engine, { compression: { decompressor }, message: (_socket, message) => messages.push(message) })
      const client = await RawClient.open(served, { headers: ['Sec-WebSocket-Extensions: permessage-deflate'] })
      return { client, messages }
    }

    test('fails with the first fragment', async () => {
      const { client } = await open()
      client.write(text(deflateMessage(Buffer.concat([good, bad])), { fin: false, reserved: RSV1 }))
      expect(closeCode(await client.frame())).toBe(1007)
    })

    test('fails with a later fragment, behind a Ping', async () => {
      const { client } = await open()
      const [first, second] = [deflateMessage(good), deflateMessage(bad)]
      client.write(
        text(Buffer.concat([first, bytes(0, 0, 0xff, 0xff)]), { fin: false, reserved: RSV1 }),
        frame({ opcode: OPCODE.PING }),
      )
      expect(await client.frame()).toMatchObject({ opcode: OPCODE.PONG })
      client.write(continuation(second, false))
      expect(closeCode(await client.frame())).toBe(1007)
    })

    test('fails with a fragment that is no compressed data', async () => {
      const { client } = await open()
      client.write(text(bytes(0xff, 0xff, 0xff, 0xff), { fin: false, reserved: RSV1 }))
      expect(closeCode(await client.frame())).toBe(1007)
    })

    test('fails with the fragment that makes it too long', async () => {
      const { client } = await open()
      client.write(text(deflateMessage(Buffer.alloc(2 ** 24 + 1, 'x')), { fin: false, reserved: RSV1 }))
      expect(closeCode(await client.frame())).toBe(1009)
    })

    test('is not taken for any where fragments cut the compressed data and its characters', async () => {
      const { client, messages } = await open()
      for (let round = 0; round < 3; round += 1) {
        const all = Buffer.from('aß€😀'.repeat(20 + round))
        const compressed = deflateMessage(all)
        const last = compressed.length - 1
        client.write(
          ...Array.from(compressed, (byte, index) =>
            index === 0
              ? text(bytes(byte), { fin: false, reserved: RSV1 })
              : frame({ opcode: OPCODE.CONTINUATION, payload: bytes(byte), fin: index === last }),
          ),
        )
        expect(await messages.next('the message in fragments')).toBe(all.toString())
        client.write(text(compressed, { reserved: RSV1 }))
        expect(await messages.next('the message in one')).toBe(all.toString())
      }
    })
  })

  test('is not taken for any where characters are cut by frames and network packets', async () => {
    const messages = new Queue<string | Buffer>()
    const served = await serve(engine, { message: (_socket, message) => messages.push(message) })
    const client = await RawClient.open(served)
    const all = Buffer.from('aß€😀'.repeat(20))
    const fragments = [...all].map((byte, index) =>
      index === 0
        ? text(bytes(byte), { fin: false })
        : frame({ opcode: OPCODE.CONTINUATION, payload: bytes(byte), fin: index === all.length - 1 }),
    )
    for (const byte of Buffer.concat(fragments.slice(0, 20))) {
      client.write(bytes(byte))
      await client.flushed()
    }
    client.write(...fragments.slice(20))
    expect(await messages.next('the message')).toBe(all.toString())
    const whole = text(all)
    for (const byte of whole) {
      client.write(bytes(byte))
      await client.flushed()
    }
    expect(await messages.next('the message')).toBe(all.toString())
  })
})

describeEngines('a message in very many fragments', (engine) => {
  test.each([
    ['of one byte', 40_000, 'x'],
    ['that are empty', 300_000, ''],
  ])('%s is taken', async (_which, count, payload) => {
    const messages = new Queue<string | Buffer>()
    const served = await serve(engine, { message: (_socket, message) => messages.push(message) })
    const client = await RawClient.open(served)
    const fragment = continuation(payload, false)
    const fragments = Buffer.concat(Array.from({ length: count }, () => fragment))
    client.write(binary('begin ', { fin: false }), fragments, continuation(' end'))
    const message = await messages.next('the message', 30_000)
    expect(String(message)).toBe(`begin ${payload.repeat(count)} end`)
  })

  test('is too large only beyond maxPayloadLength', async () => {
    const served = await serve(engine, { maxPayloadLength: 20_000 })
    const client = await RawClient.open(served)
    client.write(binary('x', { fin: false }), ...Array.from({ length: 20_000 }, () => continuation('x', false)))
    expect(closeCode(await client.frame())).toBe(1009)
  })
})
