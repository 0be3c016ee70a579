/** Pongs: those that no Ping has asked for, in both directions, and Pings that a program answers itself. */
import { expect, test } from 'vitest'
import { OptionError, SendStatus, type Socket, type WebSocketHandlers } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type Served, serve } from '../support/engines.js'
import { frame, handshake, OPCODE, RawClient } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

type EngineName = 'native' | 'portable'

/** A server, its sockets, and the Pongs that came. */
async function serveAnd(
  engine: EngineName,
  handlers: WebSocketHandlers<undefined> = {},
): Promise<{ served: Served; sockets: Queue<Socket>; pongs: Queue<readonly [data: string, isUnsolicited: boolean]> }> {
  const sockets = new Queue<Socket>()
  const pongs = new Queue<readonly [string, boolean]>()
  const served = await serve<undefined>(engine, {
    open: (socket) => sockets.push(socket),
    pong: (_socket, data, isUnsolicited) => pongs.push([String(data), isUnsolicited]),
    ...handlers,
  })
  return { served, sockets, pongs }
}

const pong = (payload: string) => frame({ opcode: OPCODE.PONG, payload })

describeEngines('Pongs', (engine) => {
  test('that no Ping has asked for are told apart from answers', async () => {
    const { served, sockets, pongs } = await serveAnd(engine)
    const client = await RawClient.open(served)
    const socket = await sockets.next('the socket')
    client.write(pong('from nowhere'))
    expect(await pongs.next('a Pong')).toEqual(['from nowhere', true])
    for (const name of ['a', 'b', 'c']) socket.ping(name)
    socket.ping()
    for (let n = 0; n < 4; n++) expect((await client.frame('a Ping')).opcode).toBe(OPCODE.PING)
    // The answer to the second stands for the first, too.
    client.write(pong('b'), pong('a'), pong('c'), pong('c'), pong(''), pong(''))
    expect(await pongs.take(6, 'Pongs')).toEqual([
      ['b', false],
      ['a', true],
      ['c', false],
      ['c', true],
      ['', false],
      ['', true],
    ])
  })

  test('that answer Pings beyond the last 16 count as unsolicited, and none is kept for ever', async () => {
    const { served, sockets, pongs } = await serveAnd(engine)
    const client = await RawClient.open(served)
    const socket = await sockets.next('the socket')
    for (let n = 0; n < 17; n++) socket.ping(`${n}`)
    for (let n = 0; n < 17; n++) await client.frame('a Ping')
    client.write(pong('0'), pong('1'), pong('16'))
    expect(await pongs.take(3, 'Pongs')).toEqual([
      ['0', true],
      ['1', false],
      ['16', false],
    ])
  })

  test('that answer the server’s own Ping before the idle timeout are not unsolicited', { timeout: 20_000 }, async () => {
    const { served, pongs } = await serveAnd(engine, { idleTimeout: 8 })
    const client = await RawClient.open(served)
    expect((await client.frame('the Ping', 15_000)).opcode).toBe(OPCODE.PING)
    client.write(pong(''), pong(''))
    expect(await pongs.take(2, 'Pongs')).toEqual([
      ['', false],
      ['', true],
    ])
  })

  test('of a paused socket come later, and are told apart as well', async () => {
    const { served, sockets, pongs } = await serveAnd(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('the socket')
    socket.pause()
    socket.ping('mine')
    expect(String(await client.pings.next('the Ping'))).toBe('mine')
    client.socket.pong('theirs')
    socket.resume()
    expect(await pongs.take(2, 'Pongs')).toEqual([
      ['mine', false],
      ['theirs', true],
    ])
  })

  test('can be sent without a Ping, with 0 to 125 bytes', async () => {
    const { served, sockets } = await serveAnd(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('the socket')
    expect(socket.pong()).toBe(1)
    expect(socket.pong('a'.repeat(125))).toBe(125)
    expect(socket.pong(Buffer.from('bytes'))).toBe(5)
    expect((await client.pongs.take(3, 'Pongs')).map(String)).toEqual(['', 'a'.repeat(125), 'bytes'])
    expect(() => socket.pong('a'.repeat(126))).toThrow(OptionError)
    socket.close()
    expect(socket.pong()).toBe(SendStatus.DROPPED)
  })

  test('to a client that does not read wait within maxBackpressure, and drain follows', async () => {
    const statuses = new Queue<number>()
    const drains = new Queue<string>()
    const { served } = await serveAnd(engine, {
      maxBackpressure: 10_000,
      open(socket) {
        socket.send(Buffer.alloc(16 * 1024 * 1024))
        statuses.push(socket.pong('more'))
      },
      drain: () => drains.push('drain'),
    })
    const client = await RawClient.connect(served)
    client.pause()
    client.write(handshake())
    expect(await statuses.next('the status')).toBeLessThanOrEqual(0)
    client.resume()
    await drains.next('drain')
  })
})

describeEngines('a route with autoPong: false', (engine) => {
  test('leaves Pings to the handler, which may answer later or with other bytes', async () => {
    const { served } = await serveAnd(engine, {
      autoPong: false,
      async ping(socket, data) {
        await turns(2)
        if (String(data) !== 'not this one') socket.pong(`${data}!`)
      },
    })
    const client = await Client.open(served)
    client.socket.ping('not this one')
    client.socket.ping('this one')
    expect(String(await client.pongs.next('the Pong'))).toBe('this one!')
    expect(client.pongs.size).toBe(0)
  })

  test('sends nothing by itself, and keeps the connection', async () => {
    const { served } = await serveAnd(engine, { autoPong: false, message: (socket, message) => void socket.send(message) })
    const client = await Client.open(served)
    client.socket.ping('?')
    expect(await client.ask('still here')).toBe('still here')
    expect(client.pongs.size).toBe(0)
  })

  test('is no concern of other routes', async () => {
    const { served } = await serveAnd(engine)
    const client = await Client.open(served)
    client.socket.ping('?')
    expect(String(await client.pongs.next('the Pong'))).toBe('?')
  })
})
