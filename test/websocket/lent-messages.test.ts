/** Binary messages that are lent to their handler: `lendMessages`. */
import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { duplex, messages, OptionError, type WebSocketHandlers } from '../../src/index.js'
import { runFixture } from '../support/child.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { binary, RawClient } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

/** The lengths around what is copied twice (2 KiB), a read of a socket, and the memory that is lent. */
const LENGTHS = [0, 1, 2048, 2049, 4096, 10_001, 65_536, 131_072, 131_073, 262_144, 262_145, 1_000_000]

const patterned = (length: number, seed: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, at) => at * 7 + seed))

describeEngines('lendMessages', (engine) => {
  const lend = (handlers: WebSocketHandlers<unknown>) =>
    serve(engine, { lendMessages: true, maxPayloadLength: 2 ** 20, ...handlers })

  test('brings every byte of messages of all lengths, in their order, to handlers that read, send and publish them', async () => {
    const served = await lend({
      open: (socket) => void socket.subscribe('all'),
      message(socket, message) {
        socket.send(message)
        served.server.publish('all', message)
      },
    })
    const client = await Client.open(served)
    for (const seed of [1, 2]) {
      for (const length of LENGTHS) client.send(patterned(length, seed))
    }
    for (const seed of [1, 2]) {
      for (const length of LENGTHS) {
        const expected = patterned(length, seed)
        expect(Buffer.compare((await client.messages.next(`the echo of ${length} bytes`)) as Buffer, expected)).toBe(0)
        expect(Buffer.compare((await client.messages.next(`the publication of ${length} bytes`)) as Buffer, expected)).toBe(0)
      }
    }
  })

  test('brings the messages of many clients at once, none of them mixed with another', async () => {
    let mixed = 0
    const served = await lend({
      message(socket, message) {
        const bytes = message as Buffer
        if (bytes.some((byte) => byte !== bytes[0])) mixed += 1
        socket.send(bytes.subarray(0, 1))
      },
    })
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(served)))
    const rounds = 30
    for (const [number, client] of clients.entries()) {
      client.write(...Array.from({ length: rounds }, (_, round) => binary(Buffer.alloc(16_384, number + round))))
    }
    for (const [number, client] of clients.entries()) {
      for (let round = 0; round < rounds; round += 1) {
        expect((await client.frame()).payload).toEqual(Buffer.of(number + round))
      }
    }
    expect(mixed).toBe(0)
  })

  test('leaves text as it is', async () => {
    const seen = new Queue<unknown>()
    const served = await lend({ message: (_socket, message) => void seen.push(message) })
    const client = await Client.open(served)
    client.send('x'.repeat(10_000))
    expect(await seen.next('the text')).toBe('x'.repeat(10_000))
  })

  test('gives copies to adapters, to a socket that was paused, and to a `dropped` handler', async () => {
    const kept = new Queue<Buffer>()
    const dropped = new Queue<Buffer>()
    const [first, second, third] = [patterned(20_000, 1), patterned(20_000, 2), patterned(20_000, 3)]
    const served = await lend({
      async open(socket) {
        for await (const message of messages(socket)) {
          kept.push(message as Buffer)
          break
        }
        const stream = duplex(socket)
        stream.once('data', (chunk: Buffer) => {
          kept.push(chunk)
          stream.destroy()
        })
      },
    })
    const client = await Client.open(served)
    client.send(first)
    const one = await kept.next('the message for the iterator')
    client.send(second)
    const two = await kept.next('the message for the stream')
    expect([Buffer.compare(one, first), Buffer.compare(two, second)]).toEqual([0, 0])

    const pausing = await lend({
      message(socket, message) {
        kept.push(message as Buffer)
        socket.pause()
        setImmediate(() => socket.resume())
      },
    })
    const burst = await RawClient.open(pausing)
    burst.write(binary(first), binary(second), binary(third))
    await kept.next('the lent message')
    expect(Buffer.compare(await kept.next('a message that waited'), second)).toBe(0)
    expect(Buffer.compare(await kept.next('another'), third)).toBe(0)

    const refusing = await lend({
      maxBackpressure: 1000,
      message(socket, message) {
        while (socket.send(Buffer.alloc(100_000)) > 0);
        expect(socket.send(message)).toBe(0)
      },
      dropped: (_socket, message) => void (message.length === first.length && dropped.push(message as Buffer)),
    })
    const deaf = await RawClient.open(refusing)
    deaf.pause()
    deaf.write(binary(first), binary(second), binary(third))
    for (const expected of [first, second, third]) {
      expect(Buffer.compare(await dropped.next('a message that found no room'), expected)).toBe(0)
    }
  })

  test('harms nobody when a handler tries to detach or transfer what it was lent', async () => {
    const served = await lend({
      message(socket, message) {
        const { buffer } = message as Buffer<ArrayBuffer>
        const attempts = [
          () => structuredClone(buffer, { transfer: [buffer] }),
          () => new MessageChannel().port1.postMessage(buffer, [buffer]),
          // Of Node.js 22 and later.
          () => (buffer as ArrayBuffer & { transfer?(): ArrayBuffer }).transfer?.(),
        ]
        if (message.length > 2048 && engine === 'native') {
          for (const attempt of attempts) {
            try {
              attempt()
            } catch {}
          }
        }
        socket.send(message)
      },
    })
    const clients = await Promise.all([Client.open(served), Client.open(served)])
    for (let round = 0; round < 5; round += 1) {
      const sent = clients.map((_, number) => patterned(20_000, number + round))
      for (const [number, client] of clients.entries()) client.send(sent[number] as Buffer)
      for (const [number, client] of clients.entries()) {
        expect(Buffer.compare((await client.messages.next('the echo')) as Buffer, sent[number] as Buffer)).toBe(0)
      }
    }
  })

  test('is refused when it is no boolean', async () => {
    const given = { lendMessages: 'yes' } as unknown as WebSocketHandlers<unknown>
    await expect(lend(given)).rejects.toThrow(OptionError)
  })
})

describe('what was lent [native]', () => {
  test.each([
    ['is used again for the next message', '', ['short kept', 'first lost']],
    ['is overwritten at once where the variable asks for it', '1', ['short kept', 'both overwritten']],
  ])('%s', async (_how, overwrite, lines) => {
    const env = { NATIVE_WEBSOCKET_SERVER_OVERWRITE_LENT: overwrite }
    const result = await runFixture('lent-messages.mjs', { env })
    expect(result).toEqual({ code: 0, signal: null, stderr: '', stdout: lines.map((line) => `${line}\n`).join('') })
  })
})
