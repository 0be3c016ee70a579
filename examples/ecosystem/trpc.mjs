/**
 * Subscriptions of tRPC over WebSockets, on the face of `ws`: one import differs from a server on `ws`.
 *
 *   npm install @trpc/server
 *   node examples/ecosystem/trpc.mjs
 *
 * In a client, with @trpc/client:
 *
 *   const link = wsLink({ client: createWSClient({ url: 'ws://localhost:7000' }) })
 *   const client = createTRPCClient({ links: [link] })
 *   client.onPost.subscribe({}, { onData: ({ data }) => console.log(data.text) })
 *   await client.post.mutate('hello')
 *
 * Each post has an id. After a reconnect the client tells the last one that it has, and misses none.
 */
import { EventEmitter, on } from 'node:events'
import { initTRPC, tracked } from '@trpc/server'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { WebSocketServer } from 'native-websocket-server/ws'

const { procedure, router } = initTRPC.create()

/** The posts of this process; a real server has a database. */
const posts = []
const events = new EventEmitter()
events.setMaxListeners(0) // one for each subscription

/** An input without a library for schemas. */
const text = (input) => {
  if (typeof input === 'string' && input.length <= 1000) return input
  throw new TypeError('a text of up to 1000 characters')
}
const since = (input) => {
  const id = Number(input?.lastEventId ?? posts.length)
  if (Number.isSafeInteger(id) && id >= 0) return id
  throw new TypeError('no id of a post')
}

const appRouter = router({
  list: procedure.query(() => posts),
  post: procedure.input(text).mutation(({ input }) => {
    const post = { id: posts.length + 1, text: input }
    posts.push(post)
    events.emit('post', post)
    return post
  }),
  onPost: procedure.input(since).subscription(async function* ({ input, signal }) {
    // Listens first, so that no post comes between those that are there and those to come.
    const coming = on(events, 'post', { signal })
    let last = input
    for (const post of posts.slice(last)) {
      yield tracked(String(post.id), post)
      last = post.id
    }
    for await (const [post] of coming) if (post.id > last) yield tracked(String(post.id), post)
  }),
})

const server = new WebSocketServer({ port: Number(process.env.PORT ?? 7000), maxPayload: 64 * 1024 })
const handler = applyWSSHandler({ wss: server, router: appRouter })
server.on('listening', () => console.log(`tRPC on ws://localhost:${server.address().port}`))

process.once('SIGTERM', () => {
  // Clients connect again, to the process that comes next.
  handler.broadcastReconnectNotification()
  server.close()
})
