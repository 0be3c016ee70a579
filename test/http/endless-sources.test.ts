/**
 * Sources whose chunks are always ready, of handlers' own making, give no more than their share in a turn of
 * the event loop, however many there are. What is asserted are counts: how many chunks are taken between one
 * turn and the next.
 */
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { duplex, messages, type Socket, type WebSocketServer } from '../../src/index.js'
import { describeEngines, serve } from '../support/engines.js'
import { Meter, TURNS } from '../support/floods.js'
import { frame, OPCODE, RawClient } from '../support/raw-client.js'
import { Deferred, turns, within } from '../support/waiting.js'

/** Chunks of all sources in a turn: src/core/turn-share.ts. */
const SHARE = 256
/** A response looks at its first chunks before it is begun; Node's streams take some ahead. */
const AHEAD = SHARE + 64
/** Enough to show a source that has no bound, and an end so that such a one does not hang the test. */
const CHUNKS = 20_000

async function* chunks(meter: Meter, chunk: Buffer): AsyncGenerator<Buffer> {
  for (let n = 0; n < CHUNKS; n++) {
    meter.add()
    yield chunk
  }
}

const KINDS = [
  { name: 'bytes one by one', chunk: Buffer.from('x') },
  { name: 'empty chunks', chunk: Buffer.alloc(0) },
]

describeEngines('a source that is always ready gives way to others', (engine) => {
  describe.each(KINDS)('$name', ({ chunk }) => {
    test('as the body of a Response', async () => {
      const meter = new Meter()
      // The cast is between Node's type of the class and the global one.
      const body = () => Readable.toWeb(Readable.from(chunks(meter, chunk))) as ReadableStream<Uint8Array>
      const routes = (server: WebSocketServer) => void server.get('/source', () => new Response(body()))
      const client = await RawClient.connect(await serve(engine, {}, { path: '/socket', routes }))
      client.write('GET /source HTTP/1.1\r\nHost: a\r\n\r\n')
      expect((await client.response()).body.length).toBe(CHUNKS * chunk.length)
      meter.stop()
      expect(meter.count).toBe(CHUNKS)
      expect(meter.most).toBeLessThanOrEqual(SHARE + AHEAD)
    })

    test('as a message of sendStream', async () => {
      const meter = new Meter()
      const sent = new Deferred()
      const send = (socket: Socket) => socket.sendStream(chunks(meter, chunk)).then(sent.resolve, sent.reject)
      await RawClient.open(await serve(engine, { open: (socket) => void send(socket) }))
      await within(sent.promise, 'the end of the source')
      meter.stop()
      expect(meter.count).toBe(CHUNKS)
      expect(meter.most).toBeLessThanOrEqual(SHARE + AHEAD)
    })
  })

  test('through a duplex', async () => {
    const meter = new Meter()
    const sent = new Deferred<number>()
    const chunk = Buffer.alloc(64)
    const served = await serve(engine, {
      open: (socket) => {
        // It has no listener any more when the pipeline has ended, and its client goes without a closing
        // handshake.
        const stream = duplex(socket).on('error', sent.reject)
        const source = Readable.from(chunks(meter, chunk))
        pipeline(source, stream, { end: false }).then(() => sent.resolve(stream.writableHighWaterMark), sent.reject)
      },
    })
    await RawClient.open(served)
    const waiting = (await within(sent.promise, 'the end of the source')) / chunk.length
    meter.stop()
    expect(meter.count).toBe(CHUNKS)
    // Node's own buffer of what is to be written is filled in one go.
    expect(meter.most).toBeLessThanOrEqual(waiting + SHARE + AHEAD)
  })

  test('a loop over messages takes what came in its turns', async () => {
    const meter = new Meter()
    const done = new Deferred()
    const served = await serve(engine, {
      open: async (socket) => {
        for await (const _ of messages(socket)) meter.add()
        done.resolve()
      },
    })
    const client = await RawClient.open(served)
    client.write(Buffer.concat(Array.from({ length: CHUNKS }, () => frame({ opcode: OPCODE.BINARY }))))
    while (meter.count < CHUNKS) await turns(1)
    client.vanish()
    await within(done.promise, 'the end of the loop')
    meter.stop()
    expect(meter.most).toBeLessThanOrEqual(2 * SHARE)
  })
})

const MANY = 60
/** Chunks that one source gives before another one that waits gives any. */
const PART = 16

/** Each client has an endless source of its own, which counts for all and for the client. */
interface Sources {
  readonly meter: Meter
  readonly each: { count: number }[]
  next(): AsyncGenerator<Buffer>
}

function sources(chunk: Buffer): Sources {
  const meter = new Meter()
  const each: { count: number }[] = []
  return {
    meter,
    each,
    async *next() {
      const own = { count: 0 }
      each.push(own)
      for (;;) {
        meter.add()
        own.count += 1
        yield chunk
      }
    },
  }
}

describeEngines('sources of many clients that are always ready', (engine) => {
  const [byte, some] = [Buffer.from('x'), Buffer.alloc(256)]
  const ways = [
    { name: 'bodies of Responses', chunk: byte, ahead: 1 },
    { name: 'messages of sendStream', chunk: byte, ahead: 1 },
    // Each time that they have come to their end, Node's streams take 16 chunks and these bytes ahead.
    { name: 'chunks for a duplex', chunk: some, ahead: 16 + new PassThrough().writableHighWaterMark / some.length },
  ]

  test.each(ways)(
    'share one turn, each gets its part, and another client is answered between: $name',
    async ({ name, chunk, ahead }) => {
      const { meter, each, next } = sources(chunk)
      const ignore = () => {}
      const served = await serve(
        engine,
        {
          open: (socket) => {
            if (name === 'messages of sendStream') socket.sendStream(next()).catch(ignore)
            else if (name === 'chunks for a duplex') pipeline(Readable.from(next()), duplex(socket)).catch(ignore)
          },
        },
        {
          path: '/socket',
          routes: (server) =>
            void server
              .get('/source', () => {
                const source = next()
                const pull = async (controller: ReadableStreamDefaultController) =>
                  controller.enqueue((await source.next()).value)
                return new Response(new ReadableStream({ pull }))
              })
              .get('/witness', () => new Response(String(meter.count))),
        },
      )
      const clients = await Promise.all(
        Array.from({ length: MANY }, async () => {
          const isHttp = name === 'bodies of Responses'
          const client = isHttp ? await RawClient.connect(served) : await RawClient.open(served, { path: '/socket' })
          if (isHttp) client.write('GET /source HTTP/1.1\r\nHost: a\r\n\r\n')
          return client
        }),
      )
      while (each.length < MANY || meter.count < MANY * PART) await turns(1)
      meter.reset()
      const before = each.map(({ count }) => count)
      for (let n = 0; n < 5; n++) {
        const asked = meter.count
        const witness = await RawClient.connect(served)
        witness.write('GET /witness HTTP/1.1\r\nHost: a\r\n\r\n')
        // One turn for its connection more.
        expect(Number((await witness.response()).body) - asked).toBeLessThanOrEqual((TURNS + 1) * 2 * SHARE + MANY * ahead)
      }
      while (each.some(({ count }, n) => count - (before[n] ?? 0) < 10 * PART)) await turns(1)
      const given = each.map(({ count }, n) => count - (before[n] ?? 0))
      meter.stop()
      for (const client of clients) client.vanish()
      // What a turn begins with, and what has waited for it, each have a budget.
      expect(meter.most).toBeLessThanOrEqual(2 * SHARE + MANY * ahead)
      // Those wait less whose bytes leave sooner.
      expect(Math.max(...given)).toBeLessThanOrEqual(5 * Math.min(...given) + ahead)
    },
  )
})
