/** graphql-ws: a query, a subscription, and one that the client ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { createClient } from 'graphql-ws'
import { useServer } from 'graphql-ws/use/ws'
import WebSocket from 'ws'
import { onEngines, serve } from './support.mjs'

let stopped = 0
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString, resolve: () => 'wörld' } } }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      count: {
        type: GraphQLInt,
        async *subscribe() {
          try {
            for (let count = 0; ; count++) {
              yield { count }
              await new Promise(setImmediate)
            }
          } finally {
            stopped += 1
          }
        },
      },
    },
  }),
})

onEngines('graphql-ws', (engine) => {
  test('answers queries and feeds subscriptions until the client has enough', async () => {
    const { server, url } = await serve(engine, { path: '/graphql' })
    const disposable = useServer({ schema }, server)
    const client = createClient({ url: `${url}/graphql`, webSocketImpl: WebSocket })
    const results = []
    for await (const result of client.iterate({ query: '{ hello }' })) results.push(result)
    assert.deepEqual(JSON.parse(JSON.stringify(results)), [{ data: { hello: 'wörld' } }])
    const before = stopped
    const counts = []
    for await (const { data } of client.iterate({ query: 'subscription { count }' })) {
      counts.push(data.count)
      if (counts.length === 50) break
    }
    assert.deepEqual(
      counts,
      Array.from({ length: 50 }, (_, index) => index),
    )
    while (stopped === before) await new Promise(setImmediate)
    await client.dispose()
    await disposable.dispose()
  })

  test('closes a client that names no subprotocol', async () => {
    const { server, url } = await serve(engine)
    const disposable = useServer({ schema }, server)
    const socket = new WebSocket(url)
    const code = await new Promise((resolve) => socket.once('close', resolve))
    assert.equal(code, 4406)
    await disposable.dispose()
  })
})
