/** Streams that are no sockets, for engines, which take sockets alone. */
import { once } from 'node:events'
import { connect, createServer, type Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Milliseconds for a stream that is slow to take the rest, when the engine has ended the connection. */
const PATIENCE = 30_000

/**
 * A socket whose other end is the stream: through the kernel, on the loopback interface. Rejects with the
 * error of the system where it has no port for that.
 */
export async function bridge(stream: Duplex): Promise<NetSocket> {
  const accepted: NetSocket[] = []
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (near) => void accepted.push(near))
  try {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const far = connect({ port: typeof address === 'object' ? (address?.port ?? 0) : 0, host: '127.0.0.1', noDelay: true })
    await once(far, 'connect')
    for (;;) {
      for (const near of accepted.splice(0)) {
        if (near.remotePort === far.localPort) {
          join(far, stream)
          return near
        }
        // Another process has found the port.
        near.destroy()
      }
      await once(server, 'connection')
    }
  } finally {
    server.close()
  }
}

function join(far: NetSocket, stream: Duplex): void {
  far.pipe(stream)
  stream.pipe(far)
  far.on('error', () => stream.destroy())
  stream.on('error', () => far.destroy())
  far.on('close', () => {
    if (!stream.writableEnded || stream.writableFinished) {
      stream.destroy()
      return
    }
    // The engine has ended the connection, and the stream has not taken everything yet.
    const cut = setTimeout(() => stream.destroy(), PATIENCE).unref()
    stream.once('finish', () => stream.destroy()).once('close', () => clearTimeout(cut))
  })
  stream.on('close', () => {
    // What the client has said last is on its way: bytes that are not read would reset the connection.
    if (far.writableEnded) far.resume()
    else far.destroy()
  })
}
