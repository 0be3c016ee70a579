/** GraphQL over WebSocket: graphql-ws as it is, client and server, on top of this server. */
import { createRequire } from 'node:module'
import { type Client, createClient, GRAPHQL_TRANSPORT_WS_PROTOCOL, handleProtocols, makeServer } from 'graphql-ws'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import type { WebSocketHandlers } from '../../src/index.js'
import { refusal } from '../support/client.js'
import { describeEngines, type Served, serve } from '../support/engines.js'
import { Deferred, Queue, within } from '../support/waiting.js'

// The package has two copies of everything, and refuses to mix them: graphql-ws gets this one from Node, Vite
// would choose the other.
const { GraphQLInt, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString } = createRequire(import.meta.url)(
  'graphql',
) as typeof import('graphql')

/** TopicCounts that have ended on the server, by how many values they had given. */
const stopped = new Queue<number>()

/** Counts up for ever, or to a number. */
async function* count(to: number) {
  let given = 0
  try {
    while (given < to) {
      yield { count: ++given }
      await new Promise((resolve) => setImmediate(resolve))
    }
  } finally {
    stopped.push(given)
  }
}

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: 'Query',
    fields: { hello: { type: GraphQLString, resolve: (_, __, context: { user: string }) => `hello, ${context.user}` } },
  }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      count: {
        type: GraphQLInt,
        args: { to: { type: new GraphQLNonNull(GraphQLInt) } },
        subscribe: (_, { to }: { to: number }) => count(to),
      },
    },
  }),
})

/** What one connection has to remember: all of it in `socket.data`. */
interface Connection {
  readonly user: string
  onMessage: (message: string) => Promise<void>
  onClosed: (code: number, reason: string) => Promise<void>
}

function graphqlHandlers(): WebSocketHandlers<Connection> {
  const graphql = makeServer<Record<string, unknown>, { user: string }>({
    schema,
    context: ({ extra }) => ({ user: extra.user }),
  })
  return {
    upgrade({ protocols, query }) {
      const protocol = handleProtocols([...protocols])
      if (protocol === false) return new Response('the subprotocol must be graphql-transport-ws', { status: 400 })
      return { data: { user: query.get('user') ?? 'nobody', onMessage: async () => {}, onClosed: async () => {} }, protocol }
    },
    open(socket) {
      socket.data.onClosed = graphql.opened(
        {
          protocol: socket.protocol,
          send: (message) => void socket.send(message),
          close: (code, reason) => socket.close(code, reason),
          onMessage: (handler) => {
            socket.data.onMessage = handler
          },
        },
        { user: socket.data.user },
      )
    },
    message: (socket, message) => socket.data.onMessage(String(message)),
    close: (socket, code, reason) => socket.data.onClosed(code, reason),
  }
}

function connect(served: Served): Client {
  const client = createClient({ url: served.wsUrl('/graphql?user=Ada'), webSocketImpl: WebSocket, retryAttempts: 0 })
  onTestFinished(() => client.dispose())
  return client
}

describeEngines('graphql-ws', (engine) => {
  const serveGraphql = () => serve(engine, graphqlHandlers(), { path: '/graphql' })

  test('answers a query with what the upgrade has found out', async () => {
    const [result] = await collect(connect(await serveGraphql()), '{ hello }')
    expect(result).toEqual({ data: { hello: 'hello, Ada' } })
  })

  test('runs a subscription from its first value to its end', async () => {
    const results = await collect(connect(await serveGraphql()), 'subscription { count(to: 5) }')
    expect(results).toEqual([1, 2, 3, 4, 5].map((count) => ({ data: { count } })))
    expect(await stopped.next('the end of the subscription')).toBe(5)
  })

  test('runs several at once on one connection', async () => {
    const served = await serveGraphql()
    const client = connect(served)
    const all = await Promise.all([3, 7, 11].map((to) => collect(client, `subscription { count(to: ${to}) }`)))
    expect(all.map((results) => results.length)).toEqual([3, 7, 11])
    expect((await stopped.take(3, 'the ends')).sort((a, b) => a - b)).toEqual([3, 7, 11])
    expect(served.server.metrics().connectionsAccepted).toBe(1)
  })

  test('stops one that the client completes', async () => {
    const client = connect(await serveGraphql())
    const values = client.iterate({ query: 'subscription { count(to: 1000000) }' })
    expect((await values.next()).value).toEqual({ data: { count: 1 } })
    await values.return?.()
    expect(await stopped.next('the end of the subscription')).toBeGreaterThan(0)
  })

  test('stops those of a client that vanishes', async () => {
    const served = await serveGraphql()
    const client = connect(served)
    const values = client.iterate({ query: 'subscription { count(to: 1000000) }' })
    await values.next()
    for (const socket of served.server.sockets()) socket.terminate()
    expect(await stopped.next('the end of the subscription')).toBeGreaterThan(0)
    await expect(drain(values)).rejects.toMatchObject({ code: 1006 })
  })

  test('refuses a client that speaks something else', async () => {
    const served = await serveGraphql()
    expect(await refusal(served, '/graphql')).toBe(400)
    const socket = new WebSocket(served.wsUrl('/graphql'), GRAPHQL_TRANSPORT_WS_PROTOCOL)
    onTestFinished(() => socket.terminate())
    const closed = new Deferred<number>()
    socket.once('open', () => socket.send('nonsense'))
    socket.once('close', (code) => closed.resolve(code))
    expect(await within(closed.promise, 'the close')).toBe(4400) // graphql-ws: an invalid message
  })
})

/** All results of an operation. */
function collect(client: Client, query: string): Promise<unknown[]> {
  return within(drain(client.iterate({ query })), `the results of ${query}`)
}

async function drain(values: AsyncIterable<unknown>): Promise<unknown[]> {
  const results: unknown[] = []
  for await (const result of values) results.push(result)
  return results
}
