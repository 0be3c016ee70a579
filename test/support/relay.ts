/** A line to a broker that a test can cut. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export class Relay {
  readonly port: number
  /** Bytes that the broker has sent. */
  received = 0
  readonly #sockets: Set<Socket>
  readonly #state: { isCut: boolean }

  private constructor(port: number, sockets: Set<Socket>, state: { isCut: boolean }) {
    this.port = port
    this.#sockets = sockets
    this.#state = state
  }

  /** Passes on to the port, until the test has finished. */
  static async to(port: number): Promise<Relay> {
    const sockets = new Set<Socket>()
    const state = { isCut: false }
    const keep = (socket: Socket) => {
      sockets.add(socket)
      // What ends one side ends the other.
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    }
    const server = createServer((socket) => {
      if (state.isCut) {
        socket.on('error', () => {}).destroy()
        return
      }
      const behind = connect(port, '127.0.0.1')
      keep(socket)
      keep(behind)
      socket.pipe(behind).on('close', () => socket.destroy())
      behind.on('data', ({ length }) => {
        relay.received += length
      })
      behind.pipe(socket).on('close', () => behind.destroy())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    // The server listens on a port.
    const relay = new Relay((server.address() as AddressInfo).port, sockets, state)
    onTestFinished(() => {
      server.close()
      relay.cut()
    })
    return relay
  }

  /** Connections end, and new ones do so at once, until `mend`. */
  cut(): void {
    this.#state.isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#state.isCut = false
  }
}
