/**
 * Collaboration with Yjs: clients edit one document at once, also while they are offline, and end up with the
 * same one. A server for the provider of y-websocket, on topics of this package.
 *
 *   npm install yjs y-protocols lib0
 *   node examples/ecosystem/yjs.mjs
 *
 * In a browser, with the packages yjs and y-websocket:
 *
 *   const doc = new Y.Doc()
 *   const provider = new WebsocketProvider('ws://localhost:7000', 'my-document', doc)
 *   doc.getText('text').insert(0, 'hello')
 *
 * A document is here as long as a client has it open. One that shall outlive its clients is loaded where it
 * is made and stored where the last client leaves, as `Y.encodeStateAsUpdate(doc)`.
 */
import { createDecoder, readVarUint, readVarUint8Array } from 'lib0/decoding'
import { createEncoder, length, toUint8Array, writeVarUint, writeVarUint8Array } from 'lib0/encoding'
import { WebSocketServer } from 'native-websocket-server'
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'
import { readSyncMessage, writeSyncStep1, writeUpdate } from 'y-protocols/sync'
import * as Y from 'yjs'

/** The types of messages of y-websocket. */
const [SYNC, AWARENESS, QUERY_AWARENESS] = [0, 1, 3]

/** The documents that clients have open, by name. */
const documents = new Map()

/** The bytes of a message of this type, whose rest `write` writes. */
function message(type, write) {
  const encoder = createEncoder()
  writeVarUint(encoder, type)
  write(encoder)
  return toUint8Array(encoder)
}

/** What each client tells of itself: its cursor, its name. */
const awarenessOf = (awareness, clients) =>
  message(AWARENESS, (encoder) => writeVarUint8Array(encoder, encodeAwarenessUpdate(awareness, clients)))

/** The document of that name, made for its first client. */
function opened(name) {
  let document = documents.get(name)
  if (document === undefined) {
    const doc = new Y.Doc()
    const awareness = new Awareness(doc)
    awareness.setLocalState(null) // the server is no participant
    document = { name, doc, awareness, sockets: 0 }
    documents.set(name, document)
    doc.on('update', (update, socket) =>
      socket.publish(
        name,
        message(SYNC, (encoder) => writeUpdate(encoder, update)),
      ),
    )
    // The origin is the socket, where a client has said it; else null, or 'timeout'.
    awareness.on('update', ({ added, updated, removed }, origin) => {
      for (const id of added) origin?.data?.ids.add(id)
      for (const id of removed) origin?.data?.ids.delete(id)
      // To its sender, too: a client takes silence of half a minute for a broken connection.
      server.publish(name, awarenessOf(awareness, [...added, ...updated, ...removed]))
    })
  }
  return document
}

const server = new WebSocketServer().ws('/:name', {
  upgrade: ({ params: { name } }) => ({
    /** The document, and the ids under which this client takes part in it. */
    data: { name, document: undefined, ids: new Set() },
  }),
  open(socket) {
    const document = opened(socket.data.name)
    socket.data.document = document
    document.sockets += 1
    socket.subscribe(document.name)
    socket.send(message(SYNC, (encoder) => writeSyncStep1(encoder, document.doc)))
    const states = [...document.awareness.getStates().keys()]
    if (states.length > 0) socket.send(awarenessOf(document.awareness, states))
  },
  message(socket, bytes, isBinary) {
    if (!isBinary) return socket.close(1003, 'binary messages only')
    const { doc, awareness } = socket.data.document
    const decoder = createDecoder(bytes)
    const type = readVarUint(decoder)
    if (type === SYNC) {
      const answer = createEncoder()
      writeVarUint(answer, SYNC)
      readSyncMessage(decoder, answer, doc, socket)
      // More than its type: an answer.
      if (length(answer) > 1) socket.send(toUint8Array(answer))
    } else if (type === AWARENESS) {
      applyAwarenessUpdate(awareness, readVarUint8Array(decoder), socket)
    } else if (type === QUERY_AWARENESS) {
      socket.send(awarenessOf(awareness, [...awareness.getStates().keys()]))
    }
  },
  close({ data: { document, ids } }) {
    removeAwarenessStates(document.awareness, [...ids], null)
    document.sockets -= 1
    if (document.sockets > 0) return
    documents.delete(document.name)
    document.doc.destroy() // and its awareness
  },
  // What cannot be decoded has thrown in `message`: that connection is closed with 1011.
  error: (error, socket) => console.log(`${socket.remoteAddress}: ${error instanceof Error ? error.message : error}`),
  maxPayloadLength: 4 * 1024 * 1024,
  // A client that is too slow must not miss a change: it connects again, and synchronizes.
  closeOnBackpressureLimit: true,
})

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`Yjs documents on ws://localhost:${port}/<name>`)
