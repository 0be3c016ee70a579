/** Messages in memory that is detached when the turn's handlers have returned: `lendMessages: 'detach'`. */
import { Buffer } from 'node:buffer'
import { expect, test } from 'vitest'
import { messages, OptionError, type Socket, type WebSocketHandlers } from '../../src/index.js'
import { runFixture } from '../support/child.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { binary, RawClient } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

/** The lengths around what is in a list by its length (2 KiB), and a long one. */
const LENGTHS = [0, 1, 20, 33, 2048, 2049, 100_000]

const patterned = (length: number, seed: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, at) => at * 7 + seed))

describeEngines("lendMessages: 'detach'", (engine) => {
  const lend = (handlers: WebSocketHandlers<unknown>) =>
    serve(engine, { lendMessages: 'detach', text: 'buffer', maxPayloadLength: 2 ** 20, ...handlers })
  const isNative = engine === 'native'

  test('brings every byte of messages of all lengths, in their order, to handlers that send and publish them', async () => {
    const served = await lend({
      open: (socket) => void socket.subscribe('all'),
      message(socket, message, isBinary) {
        socket.send(message, { binary: isBinary })
        served.server.publish('all', message)
      },
    })
    const client = await RawClient.open(served)
    // All in one write: most of them come in one turn.
    client.write(...[1, 2].flatMap((seed) => LENGTHS.map((length) => binary(patterned(length, seed)))))
    for (const seed of [1, 2]) {
      for (const length of LENGTHS) {
        const expected = patterned(length, seed)
        const [echo, publication] = [(await client.frame()).payload, (await client.frame()).payload]
        expect([length, Buffer.compare(echo, expected), Buffer.compare(publication, expected)]).toEqual([length, 0, 0])
      }
    }
  })

  test(isNative ? 'leaves nothing of what was kept' : 'lends nothing: what was kept stays', async () => {
    const kept: Buffer[] = []
    const lengths: number[] = []
    const afterwards = new Queue<number>()
    const served = await lend({
      async message(_socket, message) {
        const bytes = message as Buffer
        kept.push(bytes)
        lengths.push(bytes.length)
        await undefined
        afterwards.push(bytes.length)
      },
    })
    const client = await RawClient.open(served)
    client.write(...LENGTHS.map((length) => binary(patterned(length, 1))))
    const seen: number[] = []
    for (const _ of LENGTHS) seen.push(await afterwards.next('the rest of a handler'))
    expect(lengths).toEqual(LENGTHS)
    expect(seen).toEqual(isNative ? LENGTHS.map(() => 0) : LENGTHS)
    expect(kept.map(({ length }) => length)).toEqual(seen)
  })

  test.runIf(isNative)('gives an ArrayBuffer that has the message alone', async () => {
    const seen = new Queue<readonly number[]>()
    const served = await lend({
      message(_socket, message) {
        const { buffer, byteOffset, byteLength } = message as Buffer
        seen.push([buffer.byteLength, byteOffset, byteLength])
      },
    })
    const client = await RawClient.open(served)
    for (const length of LENGTHS) {
      client.write(binary(patterned(length, 1)))
      expect(await seen.next('a message')).toEqual([length, 0, length])
    }
  })

  test('harms no other message when a handler detaches or changes what it was lent', async () => {
    const served = await lend({
      message(socket, message) {
        const bytes = message as Buffer<ArrayBuffer>
        socket.send(bytes)
        bytes.fill(0xee)
        if (isNative && bytes.length > 0) structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
      },
    })
    const clients = await Promise.all([RawClient.open(served), RawClient.open(served)])
    const sent = [1, 2, 3, 4].flatMap((seed) => LENGTHS.map((length) => patterned(length, seed)))
    for (const client of clients) client.write(...sent.map((bytes) => binary(bytes)))
    for (const client of clients) {
      for (const bytes of sent) expect(Buffer.compare((await client.frame()).payload, bytes)).toBe(0)
    }
  })

  test('survives a handler that ends its connection, another one, or throws', async () => {
    const sockets: Socket<unknown>[] = []
    const closed = new Queue<number>()
    const errors = new Queue<unknown>()
    const served = await lend({
      open: (socket) => void sockets.push(socket),
      message(socket, message) {
        socket.send(message)
        const [first = 0] = message as Buffer
        if (first === 1) socket.terminate()
        if (first === 2) for (const other of sockets) if (other !== socket) other.terminate()
        if (first === 3) throw new Error('thrown')
      },
      error: (error) => void errors.push(error),
      close: (_socket, code) => void closed.push(code),
    })
    const [one, two] = [await RawClient.open(served), await RawClient.open(served)]
    await RawClient.open(served)
    one.write(binary(Buffer.alloc(100, 1)), binary(Buffer.alloc(100, 9)))
    expect(await closed.next('the end of the first')).toBe(1006)
    two.write(binary(Buffer.alloc(100, 2)), binary(Buffer.alloc(100, 8)))
    expect(await closed.next('the end of the third')).toBe(1006)
    expect((await two.frame()).payload).toEqual(Buffer.alloc(100, 2))
    expect((await two.frame()).payload).toEqual(Buffer.alloc(100, 8))
    two.write(binary(Buffer.alloc(100, 3)))
    expect(await errors.next('the error')).toEqual(new Error('thrown'))
  })

  test('gives copies to adapters, and to a socket that was paused', async () => {
    const kept = new Queue<Buffer>()
    const served = await lend({
      async open(socket) {
        for await (const message of messages(socket)) {
          kept.push(message as Buffer)
          break
        }
      },
      message(socket, message) {
        kept.push(Buffer.from(message as Buffer))
        socket.pause()
        setImmediate(() => socket.resume())
      },
    })
    const client = await RawClient.open(served)
    const [first, second, third] = [patterned(200, 1), patterned(200, 2), patterned(200, 3)]
    client.write(binary(first))
    const one = await kept.next('the message for the iterator')
    await turns(2)
    expect(Buffer.compare(one, first)).toBe(0)
    client.write(binary(second), binary(third))
    expect(Buffer.compare(await kept.next('the lent message'), second)).toBe(0)
    expect(Buffer.compare(await kept.next('the one that waited'), third)).toBe(0)
  })

  test('leaves text as it is where it comes as a string', async () => {
    const seen = new Queue<unknown>()
    const served = await lend({ text: 'string', message: (_socket, message) => void seen.push(message) })
    const client = await Client.open(served)
    client.send('text')
    expect(await seen.next('the text')).toBe('text')
  })

  test('is refused when it is another word', async () => {
    const given = { lendMessages: 'transfer' } as unknown as WebSocketHandlers<unknown>
    await expect(lend(given)).rejects.toThrow(OptionError)
  })
})

test.each([
  ['when the handlers of the turn have returned', '', ['[1,1,1]', '[0,0,0]']],
  ['as soon as its handler has returned, where the variable asks for it', '1', ['[0,0,1]', '[0,0,0]']],
])('what was lent is detached %s [native]', async (_when, overwrite, lines) => {
  const result = await runFixture('detached-messages.mjs', { env: { NATIVE_WEBSOCKET_SERVER_OVERWRITE_LENT: overwrite } })
  expect(result).toEqual({ code: 0, signal: null, stderr: '', stdout: lines.map((line) => `${line}\n`).join('') })
})
