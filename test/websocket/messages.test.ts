/**
 * Messages: every kind, size, shape and split arrives as it was sent, in order, in memory that is never
 * overwritten.
 */
import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { binary, closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

type Message = string | Buffer
interface EchoSocket {
  send(data: Message): number
}
const KiB = 1024
const MiB = 1024 * KiB

/** Sends every message back. Its limits leave room for the largest. */
const echo = {
  maxPayloadLength: 32 * MiB,
  maxBackpressure: 64 * MiB,
  message: (socket: EchoSocket, message: Message) => void socket.send(message),
}
const hash = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

/**
 * The sizes at which the length field of a frame changes (RFC 6455, section 5.2), and those at which buffers
 * tend to end.
 */
const SIZES = [0, 1, 2, 124, 125, 126, 127, 128, 1000, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_534, 65_535, 65_536, 65_537]
const LARGE_SIZES = [256 * KiB - 12, 256 * KiB, 512 * KiB - 1, 512 * KiB, 512 * KiB + 1, MiB, 4 * MiB + 3, 16 * MiB]

for (const tls of [false, true]) {
  const options = tls ? { server: { tls: true as const } } : {}
  describeEngines(`messages over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    for (const size of [...SIZES, ...LARGE_SIZES]) {
      test(`text and binary of ${size} bytes come back the same`, async () => {
        const client = await Client.open(await serve(engine, echo, options))
        const bytes = randomBytes(size)
        const answer = await client.ask(bytes)
        expect(answer).toBeInstanceOf(Buffer)
        expect(hash(answer)).toBe(hash(bytes))
        const letters = 'abcdefghij'.repeat(Math.ceil(size / 10)).slice(0, size)
        const reply = await client.ask(letters)
        expect(typeof reply).toBe('string')
        expect(reply === letters).toBe(true)
      })
    }

    test('20,000 messages over several sockets come back complete and in order', async () => {
      const served = await serve(engine, echo, options)
      const clients = await Client.openMany(served, 5)
      const each = 4000
      for (let n = 0; n < each; n++) {
        // Sizes vary, and with them the number of messages that share a read.
        for (const [index, client] of clients.entries()) client.send(`${index}:${n}:${'x'.repeat((n * 37) % 301)}`)
      }
      for (const [index, client] of clients.entries()) {
        for (let n = 0; n < each; n++) expect(await client.next()).toBe(`${index}:${n}:${'x'.repeat((n * 37) % 301)}`)
      }
    })

    test('large and small messages that follow each other keep their order', async () => {
      const client = await Client.open(await serve(engine, echo, options))
      const sizes = [10, 3 * MiB, 0, 70_000, 1, 16_384, 600_000, 5, 2 * MiB, 126, 8]
      const sent = sizes.map((size) => randomBytes(size))
      for (const message of sent) client.send(message)
      for (const message of sent) expect(hash(await client.next())).toBe(hash(message))
    })
  })
}

describeEngines('messages as the handler sees them', (engine) => {
  test('text is a string, binary a Buffer, and the flag says which', async () => {
    const seen = new Queue<[unknown, boolean]>()
    const client = await Client.open(await serve(engine, { message: (_, message, isBinary) => seen.push([message, isBinary]) }))
    client.send('text')
    client.send(Buffer.from('bytes'))
    client.send('')
    client.send(Buffer.alloc(0))
    expect(await seen.take(4, 'messages')).toEqual([
      ['text', false],
      [Buffer.from('bytes'), true],
      ['', false],
      [Buffer.alloc(0), true],
    ])
  })

  test('Unicode survives in both directions, beyond the BMP, with a byte order mark, with NUL', async () => {
    const seen = new Queue<unknown>()
    const served = await serve(engine, {
      message: (socket, message) => {
        seen.push(message)
        socket.send(message)
      },
    })
    const client = await Client.open(served)
    const texts = [
      'grüße, κόσμε, Привет, 你好, こんにちは',
      '\u{1F600}\u{1F469}\u200D\u{1F4BB} \u{10FFFF} \u{10000}',
      '\uFEFFmark first',
      'mark\uFEFFwithin',
      'nul\0in the middle\0',
      '\u0001\u007F\u0080\u07FF\u0800\uD7FF\uE000\uFFFF',
      'é'.repeat(70_000),
      `${'a'.repeat(65_535)}\u{1F600}`,
    ]
    for (const sent of texts) {
      const answer = await client.ask(sent)
      expect(await seen.next('the message')).toBe(sent)
      expect(answer).toBe(sent)
    }
  })

  test('text is as long as its UTF-8: 1 to 4 bytes for each character, around every limit', async () => {
    const client = await Client.open(await serve(engine, echo))
    for (const character of ['a', 'é', '€', '\u{1F600}']) {
      for (const length of [15, 16, 17, 47, 48, 49, 5461, 5462, 8191, 8192, 16_383, 16_384, 16_385, 65_536, 87_381, 87_382]) {
        const sent = character.repeat(length)
        expect((await client.ask(sent)) === sent).toBe(true)
        const mixed = `${sent}${character}a`
        expect((await client.ask(mixed)) === mixed).toBe(true)
      }
    }
  })

  test('a lone surrogate is sent as U+FFFD, as a WebSocket of the web does', async () => {
    const client = await Client.open(await serve(engine, { open: (socket) => void socket.send('a\uD800b') }))
    expect(await client.next()).toBe('a\uFFFDb')
  })

  test('10,000 kept Buffers of all sizes still hold what was sent, at the end', async () => {
    const kept: Buffer[] = []
    const all = 10_000
    const done = new Queue<true>()
    const served = await serve(engine, {
      message: (_, message) => {
        if (typeof message === 'string') throw new Error('binary was sent')
        if (kept.push(message) === all) done.push(true)
      },
    })
    const clients = await Client.openMany(served, 4)
    const sizeOf = (n: number): number => (n % 500 === 0 ? 100_000 + n : n % 50 === 0 ? 5000 + n : (n * 7919) % 400)
    const messageOf = (n: number): Buffer => {
      const message = Buffer.alloc(4 + sizeOf(n), n & 255)
      message.writeUInt32LE(n)
      return message
    }
    for (let n = 0; n < all; n++) clients[n % 4]?.send(messageOf(n))
    await done.next('the last message', 20_000)
    for (const client of clients) client.socket.terminate()
    const wrong = kept.filter((message) => !message.equals(messageOf(message.readUInt32LE())))
    expect(wrong.length).toBe(0)
    expect(new Set(kept.map((message) => message.readUInt32LE())).size).toBe(all)
  })

  test('writing into a kept Buffer changes no other message', async () => {
    const kept: Buffer[] = []
    const intact = new Queue<boolean>()
    const served = await serve(engine, {
      message: (_, message) => {
        if (typeof message === 'string') return
        for (const other of kept) other.fill(0xff)
        intact.push(message.every((byte) => byte === 7))
        message.fill(0xff)
        kept.push(message)
      },
    })
    const client = await Client.open(served)
    for (let n = 0; n < 100; n++) client.send(Buffer.alloc(n === 50 ? 300_000 : 40, 7))
    expect(await intact.take(100, 'messages')).toEqual(Array(100).fill(true))
  })

  test('a Buffer can be sent back after a while, and detached or transferred at will', async () => {
    const kept: Buffer[] = []
    const arrived = new Queue<EchoSocket>()
    const served = await serve(engine, {
      message: (socket, message) => {
        if (typeof message === 'string') return
        kept.push(message)
        arrived.push(socket)
      },
    })
    const client = await Client.open(served)
    client.send(Buffer.from('first'))
    client.send(Buffer.from('second'))
    const [socket] = await arrived.take(2, 'messages')
    // Whether the memory of a message may be transferred is the engine's secret. That nothing breaks is not.
    for (const message of kept) {
      // No message is in shared memory.
      const memory = message.buffer as ArrayBuffer & { transfer?: () => ArrayBuffer }
      // Node 22 itself falls when its own pool, from which it takes memory for what is short, is transferred
      // in the second way.
      const isPool = memory.byteLength === Buffer.poolSize
      const ways = [() => structuredClone(memory, { transfer: [memory] }), () => (isPool ? undefined : memory.transfer?.())]
      for (const transfer of ways) {
        try {
          transfer()
        } catch {}
      }
    }
    client.send(Buffer.from('third'))
    await arrived.next('the third message')
    expect(kept[2]?.toString()).toBe('third')
    socket?.send('alive')
    expect(await client.next()).toBe('alive')
  })
})

describeEngines('fragments and control frames', (engine) => {
  test('fragments are joined', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    client.write(
      text('one ', { fin: false }),
      frame({ opcode: OPCODE.CONTINUATION, payload: 'two ', fin: false }),
      frame({ opcode: OPCODE.CONTINUATION, payload: '', fin: false }),
      frame({ opcode: OPCODE.CONTINUATION, payload: 'three' }),
    )
    expect(await client.frame()).toMatchObject({
      fin: true,
      reserved: 0,
      opcode: OPCODE.TEXT,
      masked: false,
      payload: Buffer.from('one two three'),
    })
  })

  test('a character may be split between fragments', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    const bytes = Buffer.from('a\u{1F600}é')
    const frames = Array.from(bytes, (byte, index) =>
      frame({
        opcode: index === 0 ? OPCODE.TEXT : OPCODE.CONTINUATION,
        payload: Buffer.from([byte]),
        fin: index === bytes.length - 1,
      }),
    )
    client.write(...frames)
    expect((await client.frame()).payload.toString()).toBe('a\u{1F600}é')
  })

  test('5,000 fragments make one message', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    client.write(binary('', { fin: false }))
    for (let n = 0; n < 5000; n++) client.write(frame({ opcode: OPCODE.CONTINUATION, payload: `${n},`, fin: n === 4999 }))
    const answer = await client.frame()
    expect(answer.opcode).toBe(OPCODE.BINARY)
    expect(answer.payload.toString()).toBe(`${Array.from({ length: 5000 }, (_, n) => n).join(',')},`)
  })

  test('control frames between fragments are answered at once, and the message stays whole', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    client.write(text('be', { fin: false }), frame({ opcode: OPCODE.PING, payload: 'now' }))
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.PONG, payload: Buffer.from('now') })
    client.write(frame({ opcode: OPCODE.PONG, payload: 'unasked' }), frame({ opcode: OPCODE.CONTINUATION, payload: 'tween' }))
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.TEXT, payload: Buffer.from('between') })
  })

  test('frames that are split at every byte are understood', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    const stream = Buffer.concat([
      text('short'),
      binary(randomBytes(200)),
      text('', { fin: false }),
      frame({ opcode: OPCODE.CONTINUATION, payload: 'joined é' }),
      frame({ opcode: OPCODE.PING, payload: 'p' }),
    ])
    for (const byte of stream) {
      client.write(Buffer.from([byte]))
      await client.flushed()
    }
    const frames = [await client.frame(), await client.frame(), await client.frame(), await client.frame()]
    const kinds = frames.map(({ opcode, payload }) => [opcode, payload.length])
    // A Pong may overtake the answers of handlers (RFC 6455, section 5.5.3: as soon as is practical).
    expect(kinds.filter(([opcode]) => opcode === OPCODE.PONG)).toEqual([[OPCODE.PONG, 1]])
    expect(kinds.filter(([opcode]) => opcode !== OPCODE.PONG)).toEqual([
      [OPCODE.TEXT, 5],
      [OPCODE.BINARY, 200],
      [OPCODE.TEXT, 9],
    ])
  })

  test('many frames in one segment, and a frame over many, come in order', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    const half = binary(Buffer.alloc(100_000, 1))
    client.write(...Array.from({ length: 500 }, (_, n) => text(`${n}`)), half.subarray(0, 50_000))
    for (let n = 0; n < 500; n++) expect((await client.frame()).payload.toString()).toBe(`${n}`)
    client.write(half.subarray(50_000), text('last'))
    expect((await client.frame()).payload.length).toBe(100_000)
    expect((await client.frame()).payload.toString()).toBe('last')
  })

  test('messages before a Close frame in one segment arrive before close', async () => {
    const events = new Queue<string>()
    const served = await serve(engine, {
      message: (_, message) => events.push(String(message)),
      ping: (_, data) => events.push(`ping ${data}`),
      close: (_, code) => events.push(`close ${code}`),
    })
    const client = await RawClient.open(served)
    client.write(text('a'), frame({ opcode: OPCODE.PING, payload: 'b' }), text('c'), closeFrame(1000), text('after the end'))
    expect(await events.take(4, 'events')).toEqual(['a', 'ping b', 'c', 'close 1000'])
    await client.closed()
    expect(events.size).toBe(0)
  })

  test('a server frame is final, unmasked and of minimal length', async () => {
    const client = await RawClient.open(await serve(engine, echo))
    for (const size of [0, 125, 126, 65_535, 65_536]) {
      client.write(binary(Buffer.alloc(size)))
      expect(await client.frame()).toMatchObject({
        fin: true,
        reserved: 0,
        masked: false,
        opcode: OPCODE.BINARY,
        payload: Buffer.alloc(size),
      })
    }
  })
})

describeEngines('what can be sent', (engine) => {
  const memory = Uint8Array.from({ length: 32 }, (_, index) => index)
  const kinds: [what: string, data: ArrayBuffer | ArrayBufferView, bytes: Uint8Array][] = [
    ['an ArrayBuffer', memory.buffer, memory],
    ['a Uint8Array', memory, memory],
    ['a Uint8Array that is a part of its memory', memory.subarray(3, 9), memory.slice(3, 9)],
    ['a Buffer that is a part of its memory', Buffer.from(memory.buffer, 5, 7), memory.slice(5, 12)],
    ['a DataView that is a part of its memory', new DataView(memory.buffer, 8, 4), memory.slice(8, 12)],
    ['a Float64Array', new Float64Array(memory.buffer, 8, 2), memory.slice(8, 24)],
    ['an Int16Array', new Int16Array(memory.buffer, 2, 3), memory.slice(2, 8)],
    ['an empty Uint8Array', new Uint8Array(0), new Uint8Array(0)],
    ['an empty ArrayBuffer', new ArrayBuffer(0), new Uint8Array(0)],
    ['a pooled Buffer', Buffer.from('pooled'), Buffer.from('pooled')],
  ]
  for (const [what, data, bytes] of kinds) {
    test(`${what} goes out as those bytes, by send and by publish`, async () => {
      const answers = new Queue<number>()
      const served = await serve(engine, {
        open: (socket) => void socket.subscribe('topic'),
        message: (socket) => {
          answers.push(socket.send(data))
          served.server.publish('topic', data)
        },
      })
      const client = await Client.open(served)
      client.send('go')
      expect(await answers.next('the answer of send')).toBe(bytes.length === 0 ? 1 : bytes.length)
      expect(await client.next()).toEqual(Buffer.from(bytes))
      expect(await client.next()).toEqual(Buffer.from(bytes))
    })
  }

  test('SharedArrayBuffer memory can be sent', async () => {
    const view = new Uint8Array(new SharedArrayBuffer(8)).fill(9)
    const client = await Client.open(await serve(engine, { open: (socket) => void socket.send(view) }))
    expect(await client.next()).toEqual(Buffer.alloc(8, 9))
  })

  for (const size of [10, 1000, 100_000, 3 * MiB]) {
    test(`${size} bytes that are changed right after send and publish go out as they were`, async () => {
      const served = await serve(engine, {
        maxBackpressure: 32 * MiB,
        open: (socket) => {
          socket.subscribe('topic')
          const bytes = new Uint8Array(size).fill(1)
          socket.send(bytes)
          bytes.fill(2)
          served.server.publish('topic', bytes)
          bytes.fill(3)
          socket.send(bytes)
          bytes.fill(4)
        },
      })
      const client = await Client.open(served)
      for (const expected of [1, 2, 3]) {
        const message = await client.next()
        expect(message.length).toBe(size)
        // Binary was sent.
        expect(Buffer.alloc(size, expected).equals(Buffer.from(message as Buffer))).toBe(true)
      }
    })
  }

  for (const wrong of [undefined, null, 7, true, {}, [], [1, 2], new Date(0), Symbol('s'), 10n, () => {}, new Blob(['x'])]) {
    const name = typeof wrong === 'object' && wrong !== null ? wrong.constructor.name : typeof wrong
    test(`${wrong === null ? 'null' : name} is refused by send, ping and publish, with an OptionError that says what is wanted`, async () => {
      const errors = new Queue<unknown>()
      const served = await serve(engine, {
        message: (socket) => {
          const data = wrong as string // lets through what TypeScript would refuse and JavaScript would not
          const attempts = [
            () => socket.send(data),
            () => socket.publish('topic', data),
            () => served.server.publish('topic', data),
          ]
          if (wrong !== undefined) attempts.push(() => socket.ping(data)) // ping() has a default
          for (const attempt of attempts) {
            try {
              errors.push(attempt())
            } catch (error) {
              errors.push(error)
            }
          }
          socket.send('done')
        },
      })
      const client = await Client.open(served)
      expect(await client.ask('go')).toBe('done')
      expect(errors.size).toBeGreaterThanOrEqual(3)
      while (errors.size > 0) {
        expect(await errors.next('an error')).toMatchObject({
          name: 'OptionError',
          code: 'ERR_OPTION',
          option: 'data',
          value: wrong,
        })
      }
    })
  }
})

describeEngines('bytes whose properties were tampered with', (engine) => {
  /** Says that it is as long as it is told, whatever its memory. */
  function lying(length: number): Uint8Array {
    return Object.defineProperty(new Uint8Array([1, 2, 3, 4]), 'length', { value: length })
  }

  for (const length of [-1, 0, 2, 6000, 2 ** 32, Number.NaN]) {
    test(`a length of ${length} over four bytes sends the four bytes`, async () => {
      const served = await serve(engine, { ...echo, open: (socket) => void socket.send(lying(length)) })
      const client = await Client.open(served)
      expect(await client.next()).toEqual(Buffer.from([1, 2, 3, 4]))
      expect(await client.ask('still here')).toBe('still here')
    })
  }

  test('a Proxy around bytes is refused, and an answer follows to who asks next', async () => {
    const refusals: unknown[] = []
    const client = await Client.open(
      await serve(engine, {
        ...echo,
        open(socket) {
          try {
            socket.send(new Proxy(new Uint8Array(4), {}))
          } catch (error) {
            refusals.push(error)
          }
        },
      }),
    )
    expect(await client.ask('still here')).toBe('still here')
    expect(refusals).toEqual([expect.objectContaining({ code: 'ERR_OPTION', option: 'data' })])
  })
})
