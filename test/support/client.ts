/** The `ws` package's client: what a well-behaved peer sees. */
import { onTestFinished } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import { localhostCertificate } from './certificates.js'
import type { Address, Cleanup } from './engines.js'
import { PATIENCE, Queue, within } from './waiting.js'

export interface ClosedWith {
  readonly code: number
  readonly reason: string
}

export interface ClientSettings extends ClientOptions {
  /**
   * The name that the client asks for and verifies. Its type does not have it, but it is passed on to TLS.
   */
  readonly servername?: string
  readonly cleanup?: Cleanup
}

/** A client whose messages are taken one by one. It is cut when its test ends. */
export class Client {
  readonly socket: WebSocket
  readonly messages = new Queue<string | Buffer>()
  readonly pings = new Queue<Buffer>()
  readonly pongs = new Queue<Buffer>()
  readonly #closed: Promise<ClosedWith>
  readonly #opened: Promise<void>

  private constructor(address: Address, path: string, settings: ClientSettings) {
    const { cleanup, ...options } = settings
    const trust = address.secure ? { ca: localhostCertificate().cert } : {}
    const limits = { maxPayload: 256 * 1024 * 1024, perMessageDeflate: false }
    this.socket = new WebSocket(address.wsUrl(path), { ...trust, ...limits, ...options })
    const atEnd = cleanup ?? onTestFinished
    atEnd(() => this.socket.terminate())
    this.#opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve)
      // Errors after the opening end in 'close', with the code that a test looks at.
      this.socket.on('error', reject)
    })
    this.#closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    this.socket.on('message', (data, isBinary) => {
      const bytes = data as Buffer // ws gives Buffers unless binaryType is changed
      this.messages.push(isBinary ? bytes : bytes.toString())
    })
    this.socket.on('ping', (data) => this.pings.push(data))
    this.socket.on('pong', (data) => this.pongs.push(data))
  }

  /** Resolves when the handshake is done; rejects with what `ws` says otherwise. */
  static async open(address: Address, path = '/', settings: ClientSettings = {}): Promise<Client> {
    const client = new Client(address, path, settings)
    await within(client.#opened, `the client to connect to ${address.wsUrl(path)}`)
    return client
  }

  /** `count` clients at once. */
  static openMany(address: Address, count: number, path = '/'): Promise<Client[]> {
    return Promise.all(Array.from({ length: count }, () => Client.open(address, path)))
  }

  send(data: string | Uint8Array): void {
    this.socket.send(data)
  }

  /** The next message: a string for text, a Buffer for binary. */
  next(what = 'a message', milliseconds = PATIENCE): Promise<string | Buffer> {
    return this.messages.next(what, milliseconds)
  }

  /** Sends and gives the next message. */
  ask(data: string | Uint8Array): Promise<string | Buffer> {
    this.send(data)
    return this.next('the answer to a message')
  }

  /** How the connection ended. */
  closed(what = 'the client to see the end of the connection', milliseconds = PATIENCE): Promise<ClosedWith> {
    return within(this.#closed, what, milliseconds)
  }
}

/** The HTTP status with which the server refuses a handshake. */
export function refusal(address: Address, path: string, options: ClientOptions = {}): Promise<number> {
  const trust = address.secure ? { ca: localhostCertificate().cert } : {}
  const socket = new WebSocket(address.wsUrl(path), { ...trust, ...options })
  const answer = new Promise<number>((resolve, reject) => {
    socket.once('unexpected-response', (request, response) => {
      request.destroy()
      resolve(response.statusCode ?? 0)
    })
    socket.once('open', () => {
      socket.terminate()
      reject(new Error('the handshake was accepted'))
    })
    socket.on('error', reject)
  })
  return within(answer, 'the answer to a handshake')
}
