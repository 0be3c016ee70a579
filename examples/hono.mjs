/**
 * Hono and WebSockets side by side, on one port.
 *
 *   node examples/hono.mjs        then: curl http://localhost:7000/api/notes, and npx wscat -c
 *   ws://localhost:7000/live
 *
 * A request without a route of its own goes to Hono, or to any other framework that speaks `fetch`. A note
 * that is posted over HTTP reaches every client that watches over WebSocket.
 */
import { Hono } from 'hono'
import { WebSocketServer } from 'native-websocket-server'

/** @type {{ id: number, text: string }[]} */
const notes = []

const app = new Hono()
  .get('/api/notes', (context) => context.json(notes))
  .post('/api/notes', async (context) => {
    const { text } = await context.req.json()
    const note = { id: notes.length + 1, text: String(text) }
    notes.push(note)
    server.publish('notes', JSON.stringify(note))
    return context.json(note, 201)
  })

const server = new WebSocketServer()
  .ws('/live', { open: (socket) => socket.subscribe('notes') })
  .any('/*', (request) => app.fetch(request))

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`Hono on http://localhost:${port}/api/notes, live on ws://localhost:${port}/live`)
