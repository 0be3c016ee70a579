/**
 * Takes files over WebSocket, with progress, and writes them to disk as fast as the disk takes them and no
 * faster.
 *
 *   node examples/upload.mjs      serves on ws://localhost:7000/files/<name>, and keeps files in a new
 *   temporary folder
 *
 * `duplex` makes a stream of the connection. While the disk is busy, the stream does not read, so neither
 * does the server, and TCP slows the client down: a file of any size costs a few buffers of memory. The
 * client sends the file in binary messages, reads how much has been taken after each, and closes when all of
 * it has.
 */
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { duplex, WebSocketServer } from 'native-websocket-server'

const folder = await mkdtemp(join(tmpdir(), 'upload-'))

const server = new WebSocketServer().ws('/files/:name', {
  upgrade({ params: { name } }) {
    // The name becomes a file's: anything that could lead elsewhere is refused.
    return /^[\w-][\w.-]{0,99}$/.test(name) ? { data: { name } } : new Response('Not a file name.', { status: 400 })
  },
  async open(socket) {
    const { name } = socket.data
    const hash = createHash('sha256')
    let received = 0
    await pipeline(
      duplex(socket),
      async function* (/** @type {AsyncIterable<Buffer>} */ chunks) {
        for await (const chunk of chunks) {
          hash.update(chunk)
          received += chunk.length
          yield chunk
          socket.send(JSON.stringify({ received }))
        }
      },
      createWriteStream(join(folder, name)),
    )
    console.log(`${join(folder, name)}: ${received} bytes, SHA-256 ${hash.digest('hex')}`)
  },
  // The client left in the middle, or the disk is full: the connection is over either way.
  error: (error, socket) => console.log(`${socket.data.name}: ${error instanceof Error ? error.message : error}`),
})

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`Uploads to ws://localhost:${port}/files/<name>, into ${folder}`)
