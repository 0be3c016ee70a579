/** Streams that are no sockets, for engines, which take sockets alone. */
import { once } from 'node:events'
import { connect, createServer, type Socket as NetSocket } from 'node:net'
import type { Duplex } from 'node:stream'

/**
 * A socket whose other end is the stream: through the kernel, on the loopback interface. Rejects with the
 * error of the system where it has no port for that.
 */
export async function bridge(stream: Duplex): Promise<NetSocket> {
  const server = createServer({ pauseOnConnect: true, noDelay: true })
  try {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const far = connect({ port: typeof address === 'object' ? (address?.port ?? 0) : 0, host: '127.0.0.1', noDelay: true })
    for (;;) {
      const [[near]] = await Promise.all([once(server, 'connection'), far.connecting ? once(far, 'connect') : undefined])
      if (near.remotePort === far.localPort) {
        join(far, stream)
        return near
      }
      // Another process has found the port.
      near.destroy()
    }
  } finally {
    server.close()
  }
}

function join(far: NetSocket, stream: Duplex): void {
  for (const [from, to] of [
    [far, stream],
    [stream, far],
  ] as const) {
    from.pipe(to)
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroy())
  }
}
