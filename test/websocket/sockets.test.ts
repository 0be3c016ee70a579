/** `sockets()`: all sockets, while clients come and go. */
import { expect, test } from 'vitest'
import type { Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, makeServer, type Served, serve } from '../support/engines.js'
import { Queue } from '../support/waiting.js'

describeEngines('sockets()', (engine) => {
  test('gives the same objects as the handlers of all routes, the oldest first', async () => {
    const opened = new Queue<Socket<unknown>>()
    const handlers = { open: (socket: Socket<unknown>) => opened.push(socket) }
    const served = await serve<unknown>(
      engine,
      { ...handlers, upgrade: () => ({ data: 'a' }) },
      {
        path: '/a',
        routes: (server) => server.ws<unknown>('/b', { ...handlers, upgrade: () => ({ data: 'b' }) }),
      },
    )
    for (const path of ['/a', '/b', '/a']) await Client.open(served, path)
    const expected = await opened.take(3, 'open')
    const sockets = [...served.server.sockets()]
    expect(sockets.every((socket, index) => socket === expected[index])).toBe(true)
    expect(sockets.map(({ data }) => data)).toEqual(['a', 'b', 'a'])
    expect(served.server.connections).toBe(3)
  })

  test('may have any property of a user, and are still found and let go', async () => {
    const ends = new Queue<number>()
    const open = (socket: Socket<unknown>) => void Object.assign(socket, { place: 1 })
    const served = await serve(engine, { open, close: (_, code) => ends.push(code) })
    const [first] = await Client.openMany(served, 3)
    expect([...served.server.sockets()].length).toBe(3)
    first?.socket.terminate()
    await ends.take(1, 'close')
    expect(served.server.connections).toBe(2)
    expect([...served.server.sockets()].length).toBe(2)
  })

  test('may be closed and cut while they are walked through', async () => {
    const ends = new Queue<number>()
    const served = await serve(engine, { close: (_, code) => ends.push(code) })
    const clients = await Client.openMany(served, 10)
    let visited = 0
    for (const socket of served.server.sockets()) {
      if (visited++ % 2 === 0) socket.close(4001)
      else socket.terminate()
    }
    expect(visited).toBe(10)
    expect((await ends.take(10, 'close')).sort()).toEqual([...Array(5).fill(1006), ...Array(5).fill(4001)])
    for (const client of clients) await client.closed()
    expect([...served.server.sockets()]).toEqual([])
    expect(served.server.connections).toBe(0)
  })

  test('that leave and come during a slow iteration are seen as they are', async () => {
    const ends = new Queue<number>()
    const served = await serve<string>(engine, {
      upgrade: ({ query }) => ({ data: query.get('name') ?? '' }),
      close: (_, code) => ends.push(code),
    })
    const [, second] = [
      await Client.open(served, '/?name=1'),
      await Client.open(served, '/?name=2'),
      await Client.open(served, '/?name=3'),
    ]
    const seen: unknown[] = []
    for (const { data } of served.server.sockets()) {
      seen.push(data)
      if (data !== '1') continue
      second?.socket.close()
      await ends.next('close')
      await Client.open(served, '/?name=4')
    }
    expect(seen).toEqual(['1', '3', '4'])
  })

  test('has each from its open handler to before its close handler', async () => {
    const seen = new Queue<boolean>()
    const served: Served = await serve(engine, {
      open: (socket) => seen.push([...served.server.sockets()].includes(socket)),
      close: (socket) => seen.push([...served.server.sockets()].includes(socket)),
    })
    const client = await Client.open(served)
    client.socket.close()
    expect(await seen.take(2, 'events')).toEqual([true, false])
  })

  test('is empty before the server listens and after it has closed', async () => {
    const server = makeServer(engine)
    expect([...server.sockets()]).toEqual([])
    const served = await serve(engine)
    await Client.open(served)
    await served.server.close()
    expect([...served.server.sockets()]).toEqual([])
  })
})
