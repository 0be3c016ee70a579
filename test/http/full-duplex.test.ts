/** Clients that send much while much waits for them. */
import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeEngines, type ServeOptions, serve } from '../support/engines.js'
import { binary, RawClient } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

const MiB = 1024 * 1024

for (const tls of [false, true]) {
  const options: ServeOptions = tls
    ? { server: { tls: true, maxRequestBodySize: 64 * MiB } }
    : { server: { maxRequestBodySize: 64 * MiB } }
  describeEngines(`a client over ${tls ? 'TLS' : 'plain TCP'} that does not read what waits for it`, (engine) => {
    test('is still heard, whatever it sends', async () => {
      const received = new Queue<Buffer>()
      const served = await serve(
        engine,
        {
          maxBackpressure: 64 * MiB,
          open: (socket) => void socket.send(Buffer.alloc(32 * MiB)),
          message: (_socket, message) => received.push(message as Buffer), // all are binary
        },
        options,
      )
      const client = await RawClient.open(served)
      client.pause()
      for (let i = 0; i < 48; i++) {
        const payload = randomBytes(MiB + i)
        client.write(binary(payload))
        expect((await received.next(`message ${i}`)).equals(payload)).toBe(true)
      }
    })

    test('gets a stream back that is made of what it sends', async () => {
      const served = await serve(
        engine,
        {},
        { ...options, routes: (server) => server.post('/echo', ({ body }) => new Response(body)) },
      )
      const client = await RawClient.connect(served)
      const body = randomBytes(32 * MiB)
      client.write(`POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`, body)
      const answer = await client.response()
      expect(createHash('sha256').update(answer.body).digest('hex')).toBe(createHash('sha256').update(body).digest('hex'))
    })
  })
}
