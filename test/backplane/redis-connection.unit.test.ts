/** Connections to Redis that are given up while they begin. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { expect, onTestFinished, test } from 'vitest'
import { openConnection, type RedisClient } from '../../src/backplane/redis/connection.js'
import { within } from '../support/waiting.js'

const CLIENTS: Record<string, (port: number) => RedisClient> = {
  redis: (port) => createClient({ url: `redis://127.0.0.1:${port}` }),
  ioredis: (port) => new Redis(port, '127.0.0.1', { lazyConnect: true }),
}

for (const [name, make] of Object.entries(CLIENTS)) {
  test(`${name}: a connection that is given up before it stands is closed, though the broker says nothing`, async () => {
    const sockets: Socket[] = []
    const broker = createServer((socket) => {
      sockets.push(socket.on('error', () => {}))
      socket.resume()
    }).listen(0, '127.0.0.1')
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy()
      broker.close()
    })
    await once(broker, 'listening')
    const address = broker.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const closing = new AbortController()
    const events = { message() {}, ended() {} }
    const opening = openConnection(make(address.port), events, { closing: closing.signal })
    // In a later turn, when there is a socket that connects.
    process.nextTick(() => process.nextTick(() => closing.abort()))
    await expect(opening).rejects.toThrow('the server was closed')
    while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const [socket] = sockets
    if (socket !== undefined && !socket.destroyed) await within(once(socket, 'close'), 'the end of the connection')
  })
}
