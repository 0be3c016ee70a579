/** `maxConnections` and `connections`. */
import { expect, test } from 'vitest'
import { Client, refusal } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { serveUndecided } from '../support/undecided-upgrades.js'
import { Queue, turns, within } from '../support/waiting.js'

describeEngines('maxConnections', (engine) => {
  test('refuses clients beyond it with 503, on all routes, until one leaves', async () => {
    const ends = new Queue<number>()
    const handlers = { close: (_: unknown, code: number) => ends.push(code) }
    const served = await serve(engine, handlers, {
      path: '/a',
      server: { maxConnections: 2 },
      routes: (server) => server.ws('/b', handlers),
    })
    const first = await Client.open(served, '/a')
    const second = await Client.open(served, '/b')
    expect(await refusal(served, '/a')).toBe(503)
    expect(await refusal(served, '/b')).toBe(503)
    expect(served.server.connections).toBe(2)
    first.socket.close()
    await ends.next('close')
    const third = await Client.open(served, '/b')
    expect(await refusal(served, '/a')).toBe(503)
    second.socket.terminate()
    third.socket.terminate()
    await ends.take(2, 'close')
    await Client.openMany(served, 2, '/a')
    expect(served.server.metrics()).toMatchObject({ upgradesRefused: 3, upgradesRefusedByLimit: 3, connectionsAccepted: 5 })
  })

  test('counts upgrades that are under way, however they end', async () => {
    const { served, wait } = await serveUndecided(engine, { maxConnections: 1 })
    const refused = await wait()
    refused.gate.resolve(new Response(null, { status: 403 }))
    expect((await refused.client.response()).status).toBe(403)

    const failed = await wait()
    failed.gate.reject(new Error('fails'))
    expect((await failed.client.response()).status).toBe(500)

    const gone = await wait()
    const aborted = new Promise((resolve) => gone.signal.addEventListener('abort', resolve))
    gone.client.vanish()
    await within(aborted, 'the signal')

    const accepted = await wait()
    accepted.gate.resolve({ data: undefined })
    expect((await accepted.client.response()).status).toBe(101)
    expect(await refusal(served, '/')).toBe(503)
    expect(served.server.connections).toBe(1)
  })

  test('holds in a rush of clients', async () => {
    let [open, most] = [0, 0]
    const served = await serve<undefined>(
      engine,
      {
        async upgrade() {
          await turns(2)
          return { data: undefined }
        },
        open() {
          open++
          most = Math.max(most, open)
        },
        close: () => void open--,
      },
      { server: { maxConnections: 10 } },
    )
    const clients = await Promise.all(Array.from({ length: 50 }, () => RawClient.connect(served)))
    for (const client of clients) client.write(handshake())
    const statuses = await Promise.all(clients.map(async (client) => (await client.response()).status))
    expect(statuses.filter((status) => status === 101).length).toBe(10)
    expect(statuses.filter((status) => status === 503).length).toBe(40)
    expect([open, most, served.server.connections]).toEqual([10, 10, 10])
  })

  test('does not limit HTTP', async () => {
    const served = await serve(engine, {}, { server: { maxConnections: 1 } })
    await Client.open(served)
    expect((await http(served, '/health')).status).toBe(200)
  })
})
