/** The health path: what load balancers are told, and when. */
import { expect, test } from 'vitest'
import type { ServerOptions } from '../../src/index.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Deferred, Queue, within } from '../support/waiting.js'

const REQUEST = 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'

describeEngines('the health path', (engine) => {
  /** A server without any route of its own on the health path. */
  const serveHealth = (health: ServerOptions['health'], onError?: (error: Error) => void) =>
    serve(engine, {}, { path: '/socket', server: { ...(health !== undefined && { health }), ...(onError && { onError }) } })

  test('is /health, and says that the server is healthy', async () => {
    const answer = await http(await serveHealth(undefined), '/health')
    expect([answer.status, answer.body.toString()]).toEqual([200, '{"status":"healthy"}'])
    expect(answer.headers['content-type']).toBe('application/json')
    expect(answer.headers['cache-control']).toBe('no-store')
  })

  test('may be elsewhere, or nowhere', async () => {
    const elsewhere = await serveHealth('/up')
    expect([(await http(elsewhere, '/up')).status, (await http(elsewhere, '/health')).status]).toEqual([200, 404])
    expect((await http(await serveHealth(false), '/health')).status).toBe(404)
    const checked = await serveHealth({ path: '/up', check: () => true })
    expect([(await http(checked, '/up')).status, (await http(checked, '/health')).status]).toEqual([200, 404])
  })

  for (const [when, give] of [
    ['at once', (isHealthy: boolean) => isHealthy],
    ['later', async (isHealthy: boolean) => isHealthy],
  ] as const) {
    test(`says what its check answers ${when}, anew each time`, async () => {
      const answers = [true, false, true]
      const served = await serveHealth({ check: () => give(answers.shift() ?? false) })
      for (const [status, body] of [
        [200, '{"status":"healthy"}'],
        [503, '{"status":"unhealthy"}'],
        [200, '{"status":"healthy"}'],
      ]) {
        const answer = await http(served, '/health')
        expect([answer.status, answer.body.toString()]).toEqual([status, body])
      }
    })
  }

  test('answers HEAD alike, without the body, by the same check', async () => {
    const answers = [true, false]
    const served = await serveHealth({ check: () => answers.shift() ?? false })
    const [healthy, unhealthy] = [
      await http(served, '/health', { method: 'HEAD' }),
      await http(served, '/health', { method: 'HEAD' }),
    ]
    expect([healthy.status, healthy.body.length, healthy.headers['content-type']]).toEqual([200, 0, 'application/json'])
    expect([unhealthy.status, unhealthy.body.length]).toEqual([503, 0])
    expect((await http(served, '/health', { method: 'POST' })).status).toBe(405)
  })

  test('is unhealthy when the check fails, and onError hears why', async () => {
    const errors = new Queue<Error>()
    const checks: (() => unknown)[] = [
      () => {
        throw new Error('at once')
      },
      () => Promise.reject(new Error('later')),
      () => 'yes',
      () => undefined,
    ]
    const served = await serveHealth({ check: () => checks.shift()?.() as boolean }, (error) => errors.push(error))
    for (const message of [
      'at once',
      'later',
      'health.check must return true or false, got string',
      'health.check must return true or false, got undefined',
    ]) {
      const answer = await http(served, '/health')
      expect([answer.status, answer.body.toString()]).toEqual([503, '{"status":"unhealthy"}'])
      expect((await errors.next('the error')).message).toBe(message)
    }
  })

  test('calls the check as the method that it is', async () => {
    class Health {
      isUp = true
      check() {
        return this.isUp
      }
    }
    const health = new Health()
    const served = await serveHealth(health)
    expect((await http(served, '/health')).status).toBe(200)
    health.isUp = false
    expect((await http(served, '/health')).status).toBe(503)
  })

  test('gives way to a route of the same path', async () => {
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        server: { health: { check: () => false } },
        routes: (server) => server.get('/health', () => new Response('mine')),
      },
    )
    expect((await http(served, '/health')).body.toString()).toBe('mine')
  })

  test('says 503 on connections that are kept alive while the server closes, and asks no check', async () => {
    let checks = 0
    const served = await serveHealth({
      check() {
        checks++
        return true
      },
    })
    const stubborn = await RawClient.open(served, { path: '/socket' })
    const client = await RawClient.connect(served)
    client.write(REQUEST)
    expect((await client.response()).status).toBe(200)
    const closed = served.server.close({ timeout: 60_000 })
    await stubborn.frame()
    client.write(REQUEST)
    const answer = await client.response()
    expect([answer.status, answer.body.toString()]).toEqual([503, '{"status":"closing"}'])
    expect(answer.header('connection')?.toLowerCase()).toBe('close')
    expect(checks).toBe(1)
    stubborn.vanish()
    await within(closed, 'close')
  })

  test('says 503 when the server begins to close during the check', async () => {
    const asked = new Deferred()
    const gate = new Deferred<boolean>()
    const served = await serveHealth({
      check() {
        asked.resolve()
        return gate.promise
      },
    })
    const answer = http(served, '/health')
    await within(asked.promise, 'the check')
    const closed = served.server.close({ timeout: 60_000 })
    gate.resolve(true)
    expect((await answer).body.toString()).toBe('{"status":"closing"}')
    await within(closed, 'close')
  })
})
