/**
 * `maxLifetime` on real connections. The minute that it takes at least is passed by a clock that is turned by
 * hand.
 */
import { afterEach, expect, test, vi } from 'vitest'
import type { Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { takeTheClock } from '../support/clock.js'
import { describeEngines, serve } from '../support/engines.js'
import { Queue, turns } from '../support/waiting.js'

afterEach(() => vi.useRealTimers())

describeEngines('maxLifetime', (engine) => {
  test('closes a connection that is in use, with 1000 and the reason, and each route has its own', async () => {
    takeTheClock()
    const ends = new Queue<[number, string]>()
    const echo = (socket: Socket, message: string | Buffer) => void socket.send(message)
    const served = await serve(
      engine,
      { maxLifetime: 60, message: echo, close: (_, code, reason) => ends.push([code, reason]) },
      {
        path: '/minute',
        routes: (server) => server.ws('/hour', { maxLifetime: 3600, message: echo }).ws('/ever', { message: echo }),
      },
    )
    const [minute, hour, ever] = await Promise.all(['/minute', '/hour', '/ever'].map((path) => Client.open(served, path)))
    vi.advanceTimersByTime(30_000)
    const young = await Client.open(served, '/minute')
    vi.advanceTimersByTime(29_999)
    expect(await minute?.ask('still here')).toBe('still here')
    vi.advanceTimersByTime(1)
    expect(await minute?.closed()).toEqual({ code: 1000, reason: 'maximum lifetime reached' })
    // The client has answered with the code, without a reason.
    expect((await ends.next('close'))[0]).toBe(1000)
    expect(await young.ask('still here')).toBe('still here')
    vi.advanceTimersByTime(30_000)
    expect((await young.closed()).code).toBe(1000)
    expect([await hour?.ask('hour'), await ever?.ask('ever')]).toEqual(['hour', 'ever'])
    expect(served.server.connections).toBe(2)
  })

  test('of connections that have ended holds nothing and closes nothing', async () => {
    takeTheClock()
    const served = await serve(engine, { maxLifetime: 60 })
    const timers = vi.getTimerCount()
    const client = await Client.open(served)
    client.socket.close(4000)
    await client.closed()
    while (served.server.connections > 0) await turns(1)
    // What is left are the timers of the two ws sockets and of this test.
    vi.advanceTimersByTime(30_000)
    expect(vi.getTimerCount()).toBeLessThanOrEqual(timers)
  })
})
