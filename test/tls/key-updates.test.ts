/** Clients that change their keys (KeyUpdates, RFC 8446, section 4.6.3), now and then or without an end. */
import { expect, test } from 'vitest'
import { describeEngines, serve } from '../support/engines.js'
import { KeyUpdatingClient } from '../support/key-updates.js'
import { handshake, text } from '../support/raw-client.js'
import { Deferred, turns, within } from '../support/waiting.js'

const GET = 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'

describeEngines('a client that changes its keys', (engine) => {
  test('now and then is served', async () => {
    const served = await serve(engine, {}, { server: { tls: true } })
    const client = await KeyUpdatingClient.connect(served)
    for (let n = 1; n <= 12; n++) {
      client.send('', 1)
      client.send(GET, 0)
      while (client.received.split('healthy').length <= n) await turns(1)
    }
  })

  test.each([
    ['without an end', 1, 3000],
    ['without an end, and sends a message from time to time', 100, 30],
  ])('%s loses its connection, and others are served', async (_what, messages, updates) => {
    const opened = new Deferred()
    const closed = new Deferred<number>()
    const served = await serve(
      engine,
      { open: () => opened.resolve(), close: (_socket, code) => closed.resolve(code) },
      { server: { tls: true }, path: '/socket' },
    )
    const [client, other] = [await KeyUpdatingClient.connect(served), await KeyUpdatingClient.connect(served)]
    client.send(handshake({ path: '/socket' }), 0)
    await within(opened.promise, 'the WebSocket')
    for (let n = 0; n < messages; n++) client.send(text('x'), updates)
    expect(await within(closed.promise, 'the close')).toBe(1006)
    await client.closed()
    other.send(GET, 0)
    while (!other.received.includes('healthy')) await turns(1)
  })
})
