/** tRPC: queries, errors and subscriptions over one socket, and the broadcast that has clients reconnect. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import { initTRPC, TRPCError } from '@trpc/server'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import WebSocket from 'ws'
import { eventually, onEngines, serve } from './support.mjs'

const trpc = initTRPC.create()
const router = trpc.router({
  greet: trpc.procedure.query(() => 'grüezi'),
  fail: trpc.procedure.mutation(() => {
    throw new TRPCError({ code: 'FORBIDDEN', message: 'not you' })
  }),
  count: trpc.procedure.subscription(async function* ({ signal }) {
    for (let count = 0; !signal.aborted; count++) {
      yield count
      await new Promise(setImmediate)
    }
  }),
})

onEngines('tRPC', (engine) => {
  test('answers, fails and streams', async () => {
    const { server, url } = await serve(engine)
    const handler = applyWSSHandler({ wss: server, router, createContext: ({ req }) => ({ url: req.url }) })
    const wsClient = createWSClient({ url, WebSocket })
    const client = createTRPCClient({ links: [wsLink({ client: wsClient })] })
    assert.equal(await client.greet.query(), 'grüezi')
    await assert.rejects(() => client.fail.mutate(), { message: 'not you' })
    const enough = eventually('50 counts')
    const counts = []
    const subscription = client.count.subscribe(undefined, {
      onData: (count) => {
        counts.push(count)
        if (counts.length === 50) enough.resolve()
      },
    })
    await enough.promise
    subscription.unsubscribe()
    assert.deepEqual(
      counts.slice(0, 50),
      Array.from({ length: 50 }, (_, index) => index),
    )
    assert.equal(await client.greet.query(), 'grüezi')
    handler.broadcastReconnectNotification()
    assert.equal(await client.greet.query(), 'grüezi')
    await wsClient.close()
  })
})
