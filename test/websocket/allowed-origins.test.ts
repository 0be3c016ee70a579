/** `allowedOrigins`: whose pages may open a WebSocket. */
import { expect, test } from 'vitest'
import { Client, refusal } from '../support/client.js'
import { describeEngines, type Served, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { Deferred, Queue, within } from '../support/waiting.js'

describeEngines('allowedOrigins', (engine) => {
  test('as a list lets in those that it names, and answers others with 403', async () => {
    let asked = 0
    const served = await serve<undefined>(
      engine,
      {
        upgrade() {
          asked++
          return { data: undefined }
        },
      },
      { server: { allowedOrigins: ['https://example.com', 'http://localhost:5173'] } },
    )
    for (const origin of ['https://example.com', 'HTTPS://EXAMPLE.COM', 'http://localhost:5173']) {
      await Client.open(served, '/', { origin })
    }
    expect(asked).toBe(3)
    for (const origin of ['https://evil.example', 'https://example.com.evil.example', 'http://example.com', 'null']) {
      expect(await refusal(served, '/', { origin })).toBe(403)
    }
    // Who sends none is not on the list.
    expect(await refusal(served, '/')).toBe(403)
    expect(asked).toBe(3)
    expect(served.server.metrics()).toMatchObject({ upgradesRefused: 5, upgradesRefusedByOrigin: 5, connectionsAccepted: 3 })
  })

  test('as a function decides, and is told when there is no Origin', async () => {
    const asked = new Queue<string | undefined>()
    const served = await serve(
      engine,
      {},
      {
        server: {
          allowedOrigins(origin) {
            asked.push(origin)
            return origin === undefined || origin.endsWith('.example.com')
          },
        },
      },
    )
    await Client.open(served)
    await Client.open(served, '/', { origin: 'https://Shop.example.com' })
    expect(await refusal(served, '/', { origin: 'https://example.org' })).toBe(403)
    expect(await asked.take(3, 'questions')).toEqual([undefined, 'https://Shop.example.com', 'https://example.org'])
  })

  test('as a function that fails gives the client 500 and the error to onError, and accepts no upgrade', async () => {
    const errors = new Queue<Error>()
    let opened = 0
    const answers: (() => boolean)[] = [
      () => {
        throw new Error('no list')
      },
      // What an async function returns would count as true.
      () => Promise.resolve(true) as unknown as boolean,
    ]
    const served = await serve(
      engine,
      { open: () => void opened++ },
      { server: { allowedOrigins: () => answers.shift()?.() ?? true, onError: (error) => errors.push(error) } },
    )
    expect(await refusal(served, '/')).toBe(500)
    expect((await errors.next('the error')).message).toBe('no list')
    expect(await refusal(served, '/')).toBe(500)
    expect((await errors.next('the error')).message).toBe('allowedOrigins must return true or false, got object')
    expect(opened).toBe(0)
    await Client.open(served)
  })

  test('as a function that closes the server accepts no further upgrade', async () => {
    const closed = new Deferred()
    let opened = 0
    const served: Served = await serve(
      engine,
      { open: () => void opened++ },
      {
        server: {
          allowedOrigins() {
            served.server.close().then(() => closed.resolve(), closed.reject)
            return true
          },
        },
      },
    )
    expect(await refusal(served, '/')).toBe(503)
    await within(closed.promise, 'close')
    expect(opened).toBe(0)
  })

  test('is no matter of HTTP requests', async () => {
    const served = await serve(engine, {}, { server: { allowedOrigins: [] } })
    expect((await http(served, '/health', { headers: { origin: 'https://evil.example' } })).status).toBe(200)
  })

  test('left out accepts every origin', async () => {
    const served = await serve(engine)
    await Client.open(served, '/', { origin: 'https://anywhere.example' })
    await Client.open(served)
  })
})
