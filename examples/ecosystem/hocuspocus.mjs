/**
 * Hocuspocus, the server of Tiptap for documents that many edit at once, on the face of `ws`.
 *
 *   npm install @hocuspocus/server yjs y-protocols
 *   node examples/ecosystem/hocuspocus.mjs
 *
 * In a browser, with the packages yjs and @hocuspocus/provider:
 *
 *   new HocuspocusProvider({ url: 'ws://localhost:7000', name: 'my-document', token: 'let-me-in' })
 *
 * Its hooks are those of Hocuspocus: here they refuse who has no token, and keep documents in memory.
 */
import { Hocuspocus } from '@hocuspocus/server'
import { WebSocketServer } from 'native-websocket-server/ws'
import { encodeStateAsUpdate } from 'yjs'

/** Documents, as updates, by name; a real server has a database. */
const stored = new Map()

const hocuspocus = new Hocuspocus({
  async onAuthenticate({ token }) {
    if (token !== 'let-me-in') throw new Error('no token that is known')
  },
  onLoadDocument: async ({ documentName }) => stored.get(documentName),
  async onStoreDocument({ documentName, document }) {
    stored.set(documentName, encodeStateAsUpdate(document))
  },
})

const server = new WebSocketServer({ port: Number(process.env.PORT ?? 7000), maxPayload: 4 * 1024 * 1024 })
server.on('listening', () => console.log(`Hocuspocus on ws://localhost:${server.address().port}`))
server.on('connection', (socket, request) => {
  const url = new URL(request.url, 'http://localhost')
  const connection = hocuspocus.handleConnection(socket, new Request(url, { headers: request.headers }))
  socket.on('message', (data) => connection.handleMessage(data))
  socket.on('close', (code, reason) => connection.handleClose({ code, reason: String(reason) }))
})
