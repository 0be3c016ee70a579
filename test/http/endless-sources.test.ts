/**
 * A source whose chunks are always ready, of a handler's own making, gives no more than its share in a turn
 * of the event loop. What is asserted are counts: how many chunks are taken between one turn and the next.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { duplex, messages, type Socket, type WebSocketServer } from '../../src/index.js'
import { describeEngines, serve } from '../support/engines.js'
import { frame, OPCODE, RawClient } from '../support/raw-client.js'
import { Deferred, turns, within } from '../support/waiting.js'

/** Chunks of one source in a turn: src/core/source-budget.ts. */
const SHARE = 256
/** A response looks at its first chunks before it is begun; Node's streams take some ahead. */
const AHEAD = SHARE + 64
/** Enough to show a source that has no bound, and an end so that such a one does not hang the test. */
const CHUNKS = 20_000

/** Counts in each turn while it watches. */
class Meter {
  /** So many in the turn that had most. */
  most = 0
  #count = 0
  #seen = 0
  #isOver = false

  constructor() {
    const look = () => {
      this.#look()
      if (!this.#isOver) setImmediate(look)
    }
    look()
  }

  get count(): number {
    return this.#count
  }

  add(): void {
    this.#count += 1
  }

  stop(): void {
    this.#look()
    this.#isOver = true
  }

  #look(): void {
    this.most = Math.max(this.most, this.#count - this.#seen)
    this.#seen = this.#count
  }
}

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
