/** Limits that an `upgrade` handler gives to one connection, within those of its route. */
import { expect, test } from 'vitest'
import { type Accept, type CompressionOptions, OptionError, SendStatus, type WebSocketHandlers } from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { inflateMessage, RSV1 } from '../support/deflate.js'
import { describeEngines, type Served, type ServeOptions, serve } from '../support/engines.js'
import { handshake, RawClient, text } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

type Limits = Omit<Accept<undefined>, 'data' | 'protocol' | 'headers'>
type EngineName = 'native' | 'portable'

/** Gives the limits to clients that ask for `/own`, and to no others. */
function serveWith(
  engine: EngineName,
  limits: Limits,
  handlers: WebSocketHandlers<undefined> = {},
  options: ServeOptions = {},
): Promise<Served> {
  const upgrade = ({ path }: { path: string }) => (path === '/own' ? { data: undefined, ...limits } : { data: undefined })
  return serve<undefined>(engine, { upgrade, message: (socket, message) => void socket.send(message), ...handlers }, options)
}

/** A connection on which permessage-deflate was offered, and what was agreed on. */
async function offering(served: Served, path: string, offer = 'permessage-deflate; client_max_window_bits') {
  const client = await RawClient.connect(served)
  client.write(handshake({ path, headers: [`Sec-WebSocket-Extensions: ${offer}`] }))
  return { client, agreed: (await client.response()).header('sec-websocket-extensions') }
}

describeEngines('limits of one connection', (engine) => {
  test('a smaller maxPayloadLength holds for this connection alone, in frames and in fragments', async () => {
    const served = await serveWith(engine, { maxPayloadLength: 1000 }, { maxPayloadLength: 5000 })
    const other = await Client.open(served)
    expect(await other.ask('x'.repeat(5000))).toHaveLength(5000)
    const own = await Client.open(served, '/own')
    expect(await own.ask('x'.repeat(1000))).toHaveLength(1000)
    own.send('x'.repeat(1001))
    expect((await own.closed()).code).toBe(1009)
    const fragments = await Client.open(served, '/own')
    fragments.socket.send('x'.repeat(600), { fin: false })
    fragments.socket.send('x'.repeat(401), { fin: true })
    expect((await fragments.closed()).code).toBe(1009)
    expect(await other.ask('still here')).toBe('still here')
  })

  test('a maxPayloadLength below that of a control frame leaves Pings and Close frames alone', async () => {
    const served = await serveWith(engine, { maxPayloadLength: 1 })
    const own = await Client.open(served, '/own')
    own.socket.ping('a'.repeat(125))
    expect(String(await own.pongs.next('the Pong'))).toBe('a'.repeat(125))
    own.socket.close(1000, 'a long reason')
    expect(await own.closed()).toEqual({ code: 1000, reason: 'a long reason' })
  })

  test('a smaller maxPayloadLength holds for what a message inflates to', async () => {
    const served = await serveWith(engine, { maxPayloadLength: 1000 }, { compression: { threshold: 1 }, maxPayloadLength: 5000 })
    const own = await Client.open(served, '/own', { perMessageDeflate: { threshold: 0 } })
    expect(await own.ask('x'.repeat(1000))).toHaveLength(1000)
    own.send('x'.repeat(1001))
    expect((await own.closed()).code).toBe(1009)
  })

  test('a smaller maxBackpressure bounds what waits for this connection, and streams go through it', async () => {
    const counts = new Queue<number>()
    const served = await serveWith(
      engine,
      { maxBackpressure: 1000 },
      {
        maxBackpressure: 64 * 1024 * 1024,
        open(socket) {
          // More than the kernel takes at once, so that the rest waits.
          socket.send(Buffer.alloc(16 * 1024 * 1024))
          let taken = 0
          while (taken < 100 && socket.send(Buffer.alloc(100)) !== SendStatus.DROPPED) taken += 1
          counts.push(taken)
        },
        message(socket) {
          socket.sendStream(
            (async function* () {
              for (let n = 0; n < 20; n++) yield Buffer.alloc(700, n)
            })(),
          )
        },
      },
    )
    const own = await RawClient.connect(served)
    own.pause()
    own.write(handshake({ path: '/own' }))
    expect(await counts.next('the messages of the one')).toBeLessThan(10)
    own.vanish()
    const other = await RawClient.connect(served)
    other.pause()
    other.write(handshake({ path: '/other' }))
    expect(await counts.next('the messages of the other')).toBe(100)
    other.vanish()
    const reader = await Client.open(served, '/own')
    const taken = await counts.next('the messages of the reader')
    for (let n = 0; n < taken + 1; n++) await reader.next()
    reader.send('stream')
    expect(await reader.next('the stream')).toHaveLength(14_000)
  })

  test('compression: false keeps one connection without it', async () => {
    const served = await serveWith(engine, { compression: false }, { compression: { threshold: 1 } })
    expect((await offering(served, '/own')).agreed).toBeUndefined()
    expect((await offering(served, '/other')).agreed).toContain('permessage-deflate')
  })

  test('smaller windows are agreed on, and messages pass through them', async () => {
    const served = await serveWith(
      engine,
      { compression: { compressor: '8KB', decompressor: '4KB' } },
      { compression: { compressor: '64KB', decompressor: '64KB', threshold: 1 } },
    )
    expect((await offering(served, '/own')).agreed).toBe(
      'permessage-deflate; server_max_window_bits=10; client_max_window_bits=12',
    )
    expect((await offering(served, '/other')).agreed).toBe('permessage-deflate; server_max_window_bits=13')
    const own = await Client.open(served, '/own', { perMessageDeflate: { threshold: 0 } })
    for (let n = 0; n < 20; n++) expect(await own.ask(`${n} all work and no play `.repeat(n * 10))).toMatch(/^(\d|$)/)
  })

  test('a threshold holds for this connection, and what is left out is the route’s', async () => {
    const served = await serveWith(engine, { compression: { threshold: 100 } }, { compression: { threshold: 1000 } })
    const own = await offering(served, '/own')
    expect(own.agreed).toBe('permessage-deflate; server_no_context_takeover; client_no_context_takeover')
    own.client.write(text('a'.repeat(100)))
    const answer = await own.client.frame()
    expect(answer.reserved).toBe(RSV1)
    expect(inflateMessage(answer.payload).toString()).toBe('a'.repeat(100))
    const other = await offering(served, '/other')
    other.client.write(text('a'.repeat(100)))
    expect((await other.client.frame()).reserved).toBe(0)
  })

  test('what is published reaches connections with different compression', async () => {
    const served = await serveWith(
      engine,
      { compression: { compressor: 'shared', threshold: 10 } },
      { compression: { compressor: '16KB', threshold: 10 }, open: (socket) => void socket.subscribe('news') },
    )
    const settings = { perMessageDeflate: true }
    const clients = [await Client.open(served, '/own', settings), await Client.open(served, '/other', settings)]
    for (let n = 0; n < 3; n++) {
      served.server.publish('news', `number ${n} `.repeat(50))
      for (const client of clients) expect(await client.next()).toBe(`number ${n} `.repeat(50))
    }
  })

  const shared: CompressionOptions = {}
  test.each<[limit: string, option: string, limits: Limits, handlers: WebSocketHandlers<undefined>]>([
    ['a maxPayloadLength', 'maxPayloadLength', { maxPayloadLength: 5001 }, { maxPayloadLength: 5000 }],
    ['a maxPayloadLength of 0', 'maxPayloadLength', { maxPayloadLength: 0 }, {}],
    ['a maxBackpressure', 'maxBackpressure', { maxBackpressure: 5001 }, { maxBackpressure: 5000 }],
    ['compression', 'compression', { compression: {} }, {}],
    ['a compressor', 'compression.compressor', { compression: { compressor: '8KB' } }, { compression: { compressor: '4KB' } }],
    ['a compressor of its own', 'compression.compressor', { compression: { compressor: '3KB' } }, { compression: shared }],
    ['a decompressor', 'compression.decompressor', { compression: { decompressor: '8KB' } }, { compression: shared }],
    ['a threshold of -1', 'compression.threshold', { compression: { threshold: -1 } }, { compression: shared }],
  ])('%s beyond the route’s is an OptionError, and the client gets 500', async (_limit, option, limits, handlers) => {
    const errors = new Queue<Error>()
    const served = await serveWith(engine, limits, handlers, { server: { onError: (error) => errors.push(error) } })
    expect(await refusal(served, '/own')).toBe(500)
    const error = await errors.next('the error')
    expect(error).toBeInstanceOf(OptionError)
    expect(error).toMatchObject({ code: 'ERR_OPTION', option })
    expect((await Client.open(served)).socket.readyState).toBe(1)
  })
})
