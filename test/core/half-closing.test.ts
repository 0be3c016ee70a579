/**
 * Clients that say that they will send nothing more, and still read (FIN, over TLS close_notify): what they
 * were answered before arrives, however slowly they read.
 */
import { describe, expect, test } from 'vitest'
import type { Socket, WebSocketHandlers } from '../../src/index.js'
import { type Cleanup, describeEngines, describeEnginesAtOnce, type EngineName, type Served, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { closeCode, closeFrame, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, within } from '../support/waiting.js'

const MiB = 1024 * 1024
/** More than the buffers of both kernels take. */
const LONG = 20 * MiB
const PIECE = Buffer.alloc(MiB, 'piece ')

const request = (method: string, path: string, ...headers: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n`
const get = (path: string): string => request('GET', path)

interface Options {
  readonly secure: boolean
  readonly handlers?: WebSocketHandlers<undefined>
  readonly cleanup?: Cleanup
}

/**
 * Serves `/long/N`: N MiB at once; `/short`; and whatever else is asked for never, with its signal in
 * `unanswered`.
 */
async function serveLong(engine: EngineName, { secure, handlers = {}, cleanup }: Options) {
  const answered = new Queue<string>()
  const unanswered = new Queue<AbortSignal>()
  const served = await serve(engine, handlers, {
    path: '/socket',
    ...(secure && { server: { tls: true } }),
    ...(cleanup && { cleanup }),
    routes: (server) =>
      server
        .get('/long/:mebibytes', ({ params }) => {
          answered.push('long')
          return new Response(Buffer.alloc(Number(params.mebibytes) * MiB, 'long '))
        })
        .get('/short', () => {
          answered.push('short')
          return new Response('short')
        })
        .post('/echo', async (incoming) => new Response(await incoming.text()))
        .get('/never', ({ signal }) => {
          unanswered.push(signal)
          return new Promise<Response>(() => {})
        }),
  })
  return { served, answered, unanswered }
}

/** By then the server has read what it can of all clients. */
async function settled(served: Served): Promise<void> {
  for (let n = 0; n < 3; n++) expect((await http(served, '/short')).status).toBe(200)
}

/** Sends, and then FIN, and reads nothing until it is resumed. */
async function ask(served: Served, bytes: string, cleanup?: Cleanup): Promise<RawClient> {
  const client = await RawClient.connect(served, { allowHalfOpen: true, ...(cleanup && { cleanup }) })
  client.pause()
  client.write(bytes)
  client.end()
  return client
}

/** Sends as many pieces as a message tells, and tells of the close. */
function pieces() {
  const closes = new Queue<[code: number, reason: string]>()
  const handlers = {
    maxBackpressure: 64 * MiB,
    message(socket: Socket, message: string | Buffer) {
      for (let n = 0; n < Number(message); n++) socket.send(PIECE)
    },
    close: (_: Socket, code: number, reason: string) => closes.push([code, reason]),
  }
  return { closes, handlers }
}

/** Asks for 20 pieces, says goodbye, and reads nothing until it is resumed. */
async function leave(served: Served, goodbye: Uint8Array, cleanup?: Cleanup): Promise<RawClient> {
  const options = { allowHalfOpen: true, ...(cleanup && { cleanup }) }
  const client = await RawClient.open(served, { path: '/socket' }, options)
  client.pause()
  client.write(text('20'), goodbye)
  client.end()
  return client
}

describeEngines('a client that half-closes', (engine) => {
  for (const secure of [false, true]) {
    describe(secure ? 'over TLS' : 'over TCP', () => {
      test('right behind its request gets an answer of 20 MiB whole', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await ask(served, get('/long/20'))
        await answered.next('the request')
        await settled(served)
        client.resume()
        expect((await client.response()).body).toHaveLength(LONG)
        expect(await client.rest()).toHaveLength(0)
        await client.closed()
      })

      test('behind its last request gets the answer whole', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await ask(served, request('GET', '/long/20', 'Connection: close'))
        await answered.next('the request')
        await settled(served)
        client.resume()
        expect((await client.response()).body).toHaveLength(LONG)
        await client.rest()
        await client.closed()
      })

      test('behind two requests that were answered gets both answers whole', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await RawClient.connect(served, { allowHalfOpen: true })
        client.pause()
        client.write(get('/short'), get('/long/20'))
        expect(await answered.take(2, 'the requests')).toEqual(['short', 'long'])
        client.end()
        await settled(served)
        client.resume()
        expect((await client.response()).body.toString()).toBe('short')
        expect((await client.response()).body).toHaveLength(LONG)
        expect(await client.rest()).toHaveLength(0)
      })

      // The portable engine forgets what waits when it sees the FIN.
      test.runIf(engine === 'native')('behind requests that wait for their client to read gets all answers', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const post = `${request('POST', '/echo', 'Content-Length: 4')}body`
        const client = await ask(served, get('/long/20') + request('HEAD', '/long/1') + post + get('/long/8') + get('/short'))
        await answered.next('the first request')
        await settled(served)
        client.resume()
        expect((await client.response()).body).toHaveLength(LONG)
        expect((await client.response({ head: true })).header('content-length')).toBe(`${MiB}`)
        expect((await client.response()).body.toString()).toBe('body')
        expect((await client.response()).body).toHaveLength(8 * MiB)
        expect((await client.response()).body.toString()).toBe('short')
        expect(await client.rest()).toHaveLength(0)
      })

      test.runIf(engine === 'native')('leaves a request behind them that waits for its handler: its signal aborts', async () => {
        const { served, answered, unanswered } = await serveLong(engine, { secure })
        const client = await ask(served, get('/long/20') + get('/never') + get('/short'))
        await answered.next('the first request')
        await settled(served)
        client.resume()
        const signal = await unanswered.next('the second request')
        const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
        if (!signal.aborted) await within(aborted, 'the abort signal')
        expect((await client.response()).body).toHaveLength(LONG)
        expect(await client.rest()).toHaveLength(0)
      })

      test('behind half a request gets the answer to the one before', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await ask(served, `${get('/long/20')}GET /short HTTP/1.1\r\nHo`)
        await answered.next('the request')
        await settled(served)
        client.resume()
        expect((await client.response()).body).toHaveLength(LONG)
        await client.rest()
      })

      test('and then resets is let go at once', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await ask(served, get('/long/20'))
        await answered.next('the request')
        await settled(served)
        client.vanish() // with bytes that it has not read, which makes a reset of it
        await within(served.server.close({ timeout: 60_000 }), 'the server to close')
      })

      test('is waited for by close(), which has everything written', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await ask(served, get('/long/20'))
        await answered.next('the request')
        await settled(served)
        const closed = served.server.close({ timeout: 60_000 })
        client.resume()
        expect((await client.response()).body).toHaveLength(LONG)
        await within(closed, 'the server to close')
      })

      test('and reads nothing is cut by close() when its time is up', async () => {
        const { served, answered } = await serveLong(engine, { secure })
        const client = await ask(served, get('/long/20'))
        await answered.next('the request')
        await settled(served)
        await within(served.server.close({ timeout: 100 }), 'the server to close')
        client.resume()
        await client.rest()
      })

      test('behind its Close frame gets what waits for it, and the answer to that frame', async () => {
        const { closes, handlers } = pieces()
        const { served } = await serveLong(engine, { secure, handlers })
        const client = await leave(served, closeFrame(3001, 'bye'))
        await settled(served)
        client.resume()
        for (let n = 0; n < 20; n++) expect((await client.frame()).payload).toHaveLength(MiB)
        expect(closeCode(await client.frame())).toBe(3001)
        expect(await closes.next('the close event')).toEqual([3001, 'bye'])
        expect(await client.rest()).toHaveLength(0)
        await client.closed()
      })

      test('behind a Close frame that crosses ours gets what waits for it, and ours', async () => {
        const { closes, handlers } = pieces()
        const sent = new Deferred()
        const message = (socket: Socket, text: string | Buffer) => {
          handlers.message(socket, text)
          socket.close(4000, 'enough')
          sent.resolve()
        }
        const { served } = await serveLong(engine, { secure, handlers: { ...handlers, message } })
        const client = await RawClient.open(served, { path: '/socket' }, { allowHalfOpen: true })
        client.pause()
        client.write(text('20'))
        await within(sent.promise, 'the messages')
        client.write(closeFrame(3001, 'bye'))
        client.end()
        await settled(served)
        client.resume()
        for (let n = 0; n < 20; n++) expect((await client.frame()).payload).toHaveLength(MiB)
        expect(closeCode(await client.frame())).toBe(4000)
        expect(await closes.next('the close event')).toEqual([3001, 'bye'])
        await client.rest()
      })

      test('behind its Close frame and then resets is let go at once, with its code', async () => {
        const { closes, handlers } = pieces()
        const { served } = await serveLong(engine, { secure, handlers })
        const client = await leave(served, closeFrame(3001, 'bye'))
        await settled(served)
        client.vanish()
        expect(await closes.next('the close event')).toEqual([3001, 'bye'])
      })

      test('behind its Close frame is cut by close() when its time is up', async () => {
        const { closes, handlers } = pieces()
        const { served } = await serveLong(engine, { secure, handlers })
        await leave(served, closeFrame(3001, 'bye'))
        await settled(served)
        await within(served.server.close({ timeout: 100 }), 'the server to close')
        expect(await closes.next('the close event')).toEqual([3001, 'bye'])
      })

      test('without a Close frame has left: 1006', async () => {
        const { closes, handlers } = pieces()
        const { served } = await serveLong(engine, { secure, handlers })
        const client = await leave(served, Buffer.alloc(0))
        if (engine === 'portable') client.resume() // Node writes what waits before it closes
        expect(await closes.next('the close event')).toEqual([1006, ''])
      })
    })
  }
})

// The portable engine waits for who reads nothing.
describeEnginesAtOnce('clients that half-close and read nothing', (engine) => {
  for (const secure of [false, true]) {
    test
      .runIf(engine === 'native')
      .concurrent(`are cut, over ${secure ? 'TLS' : 'TCP'}`, { timeout: 60_000 }, async ({ onTestFinished: cleanup }) => {
        const { served, answered } = await serveLong(engine, { secure, cleanup })
        for (let n = 0; n < 20; n++) await ask(served, get('/long/8'), cleanup)
        await answered.take(20, 'requests')
        await within(served.server.close({ timeout: 120_000 }), 'all answers to be given up', 50_000)
      })

    test.concurrent(`are cut behind a Close frame, over ${secure ? 'TLS' : 'TCP'}`, { timeout: 90_000 }, async ({
      onTestFinished: cleanup,
    }) => {
      const { closes, handlers } = pieces()
      const { served } = await serveLong(engine, { secure, handlers, cleanup })
      await leave(served, closeFrame(3001, 'bye'), cleanup)
      expect(await closes.next('the close event', 80_000)).toEqual([3001, 'bye'])
    })
  }
})
