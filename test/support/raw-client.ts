/** A client made of bytes, for everything that a well-behaved one refuses to do. */
import { createHash, randomBytes } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext } from 'node:tls'
import { onTestFinished } from 'vitest'
import { localhostCertificate } from './certificates.js'
import type { Address, Cleanup } from './engines.js'
import { PATIENCE, within } from './waiting.js'

/** RFC 6455, section 5.2. */
export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const

export interface FrameToSend {
  readonly opcode: number
  readonly payload?: string | Uint8Array
  /** Default true. */
  readonly fin?: boolean
  /** The three reserved bits, 0 to 7; 4 is RSV1. Default 0. */
  readonly reserved?: number
  /** Default true, as clients must. */
  readonly masked?: boolean
  /** The length that the header claims, where it is not the payload's. */
  readonly claimedLength?: bigint
}

/** Text as its UTF-8, bytes as a copy. */
function toBuffer(part: string | Uint8Array): Buffer {
  return typeof part === 'string' ? Buffer.from(part) : Buffer.from(part)
}

/** The bytes of one frame. */
export function frame({ opcode, payload = '', fin = true, reserved = 0, masked = true, claimedLength }: FrameToSend): Buffer {
  const body = toBuffer(payload)
  const length = claimedLength ?? BigInt(body.length)
  const mask = masked ? randomBytes(4) : Buffer.alloc(0)
  const extended = Buffer.alloc(length < 126n ? 0 : length < 65_536n ? 2 : 8)
  if (extended.length === 2) extended.writeUInt16BE(Number(length))
  if (extended.length === 8) extended.writeBigUInt64BE(length)
  const short = extended.length === 0 ? Number(length) : extended.length === 2 ? 126 : 127
  const head = Buffer.from([(fin ? 0x80 : 0) | (reserved << 4) | opcode, (masked ? 0x80 : 0) | short])
  if (masked) for (let index = 0; index < body.length; index++) body[index] = (body[index] ?? 0) ^ (mask[index & 3] ?? 0)
  return Buffer.concat([head, extended, mask, body])
}

export const text = (payload: string | Uint8Array, more: Partial<FrameToSend> = {}): Buffer =>
  frame({ opcode: OPCODE.TEXT, payload, ...more })
export const binary = (payload: string | Uint8Array, more: Partial<FrameToSend> = {}): Buffer =>
  frame({ opcode: OPCODE.BINARY, payload, ...more })

/** A Close frame; without a code its payload is empty. */
export function closeFrame(code?: number, reason: string | Uint8Array = ''): Buffer {
  if (code === undefined) return frame({ opcode: OPCODE.CLOSE })
  const bytes = Buffer.concat([Buffer.alloc(2), toBuffer(reason)])
  bytes.writeUInt16BE(code)
  return frame({ opcode: OPCODE.CLOSE, payload: bytes })
}

export interface ReceivedFrame {
  readonly fin: boolean
  readonly reserved: number
  readonly opcode: number
  readonly masked: boolean
  readonly payload: Buffer
}

/** The status code in a Close frame; 1005 when it has none. */
export function closeCode({ opcode, payload }: ReceivedFrame): number {
  if (opcode !== OPCODE.CLOSE) throw new Error(`expected a Close frame, got opcode ${opcode}: ${payload}`)
  return payload.length === 0 ? 1005 : payload.readUInt16BE()
}

export interface HttpResponse {
  readonly status: number
  readonly statusText: string
  /** Names in lower case; several fields of one name are in the order in which they came. */
  readonly fields: ReadonlyMap<string, readonly string[]>
  header(name: string): string | undefined
  readonly body: Buffer
}

export interface ConnectOptions {
  readonly allowHalfOpen?: boolean
  readonly cleanup?: Cleanup // for concurrent tests, which bring their own
  readonly secureContext?: SecureContext // default: trusts the test certificate, and shows none
}

export interface Handshake {
  /** `null` leaves the header out. */
  readonly key?: string | null
  readonly version?: string | null
  readonly method?: string
  readonly path?: string
  readonly headers?: readonly string[]
}

/** The bytes of a handshake. */
export function handshake(request: Handshake = {}): string {
  const { key = randomBytes(16).toString('base64'), version = '13', method = 'GET', path = '/', headers = [] } = request
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade']
  if (key !== null) lines.push(`Sec-WebSocket-Key: ${key}`)
  if (version !== null) lines.push(`Sec-WebSocket-Version: ${version}`)
  return `${[...lines, ...headers].join('\r\n')}\r\n\r\n`
}

export class RawClient {
  readonly socket: Socket
  /** What TLS runs on, or `socket` itself. */
  readonly #tcp: Socket
  readonly #chunks: Buffer[] = []
  #available = 0
  #ended = false
  #wake: () => void = () => {}
  readonly #closed: Promise<void>

  private constructor(socket: Socket, tcp: Socket) {
    this.socket = socket
    this.#tcp = tcp
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk)
      this.#available += chunk.length
      this.#wake()
    })
    const finish = () => {
      this.#ended = true
      this.#wake()
    }
    socket.on('end', finish)
    // A reset is an end like any other; 'close' follows.
    for (const each of [socket, tcp]) each.on('error', () => {})
    this.#closed = new Promise((resolve) => {
      socket.once('close', () => {
        finish()
        resolve()
      })
    })
  }

  /**
   * A connection, TCP or TLS as the server has it, without any handshake of WebSocket. It is cut when its
   * test ends.
   */
  static async connect(
    address: Pick<Address, 'host' | 'port' | 'secure'>,
    { cleanup = onTestFinished, secureContext, ...options }: ConnectOptions = {},
  ): Promise<RawClient> {
    const { host, port, secure } = address
    const tcp = connectTcp({ host, port, ...options })
    const names = { servername: 'localhost', ca: localhostCertificate().cert, secureContext }
    const socket = secure ? connectTls({ socket: tcp, ...names, ...options }) : tcp
    cleanup(() => void socket.destroy())
    const client = new RawClient(socket, tcp)
    const connected = new Promise<void>((resolve, reject) => {
      socket.once(secure ? 'secureConnect' : 'connect', resolve)
      socket.once('error', reject)
    })
    await within(connected, `a connection to port ${port}`)
    socket.setNoDelay(true)
    return client
  }

  /** A connection with the WebSocket handshake done. */
  static async open(address: Address, request: Handshake = {}, options: ConnectOptions = {}): Promise<RawClient> {
    const client = await RawClient.connect(address, options)
    const key = randomBytes(16).toString('base64')
    client.write(handshake({ key, ...request }))
    const answer = await client.response()
    if (answer.status !== 101) throw new Error(`the handshake was answered with ${answer.status}: ${answer.body}`)
    // RFC 6455, 4.2.2.
    const expected = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    if (answer.header('sec-websocket-accept') !== expected) throw new Error('the handshake has a wrong Sec-WebSocket-Accept')
    return client
  }

  write(...bytes: (string | Uint8Array)[]): void {
    this.socket.write(Buffer.concat(bytes.map(toBuffer)))
  }

  /** Resolves when the system has taken everything written so far. */
  flushed(): Promise<void> {
    return within(new Promise((resolve) => this.socket.write('', () => resolve())), 'written bytes to leave')
  }

  /** The next frame from the server. */
  async frame(what = 'a frame', milliseconds = PATIENCE): Promise<ReceivedFrame> {
    const head = await this.#read(2, what, milliseconds)
    const [first, second] = [head.readUInt8(0), head.readUInt8(1)]
    let length = BigInt(second & 0x7f)
    if (length === 126n) length = BigInt((await this.#read(2, what, milliseconds)).readUInt16BE())
    else if (length === 127n) length = (await this.#read(8, what, milliseconds)).readBigUInt64BE()
    const payload = await this.#read(Number(length), what, milliseconds)
    return { fin: first >= 0x80, reserved: (first >> 4) & 7, opcode: first & 15, masked: second >= 0x80, payload }
  }

  /** The next HTTP answer. A body without a length is not looked for, but for `Connection: close`. */
  async response({ head: headOnly = false } = {}): Promise<HttpResponse> {
    const head = (await this.#readThrough('\r\n\r\n', 'an HTTP answer')).toString('latin1')
    const [statusLine = '', ...lines] = head.trimEnd().split('\r\n')
    const [, status = '0', statusText = ''] = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(statusLine) ?? []
    const fields = new Map<string, string[]>()
    for (const line of lines) {
      const name = line.slice(0, line.indexOf(':')).toLowerCase()
      fields.set(name, [...(fields.get(name) ?? []), line.slice(name.length + 1).trim()])
    }
    const header = (name: string): string | undefined => fields.get(name)?.join(', ')
    const length = header('content-length')
    let body: Buffer = Buffer.alloc(0)
    if (!headOnly && length !== undefined) body = await this.#read(Number(length), 'the body of an HTTP answer')
    else if (!headOnly && header('transfer-encoding') === 'chunked') body = await this.#readChunked()
    return { status: Number(status), statusText, fields, header, body }
  }

  /** Everything until the server ends its side. */
  async rest(what = 'the end of the connection', milliseconds = PATIENCE): Promise<Buffer> {
    while (!this.#ended) await this.#more(what, milliseconds)
    return this.#take(this.#available)
  }

  /** Resolves when the server has closed the connection. */
  closed(what = 'the server to close the connection', milliseconds = PATIENCE): Promise<void> {
    return within(this.#closed, what, milliseconds)
  }

  /** Stops reading, so that what the server sends piles up there. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /** Half-close: says that nothing more will be sent, and still reads. */
  end(): void {
    this.socket.end()
  }

  /** Goes away without a word. */
  vanish(): void {
    this.socket.destroy()
  }

  /** Goes away with a TCP reset. */
  reset(): void {
    this.#tcp.resetAndDestroy()
  }

  async #read(length: number, what: string, milliseconds = PATIENCE): Promise<Buffer> {
    while (this.#available < length) {
      if (this.#ended) throw new Error(`the connection ended instead of ${what} (${this.#available} of ${length} bytes came)`)
      await this.#more(what, milliseconds)
    }
    return this.#take(length)
  }

  async #readThrough(mark: string, what: string): Promise<Buffer> {
    for (;;) {
      const all = this.#take(this.#available)
      const at = all.indexOf(mark)
      this.#unread(at < 0 ? all : all.subarray(at + mark.length))
      if (at >= 0) return all.subarray(0, at + mark.length)
      if (this.#ended) throw new Error(`the connection ended instead of ${what}`)
      await this.#more(what, PATIENCE)
    }
  }

  async #readChunked(): Promise<Buffer> {
    const parts: Buffer[] = []
    for (;;) {
      const size = Number.parseInt((await this.#readThrough('\r\n', 'a chunk')).toString(), 16)
      parts.push(await this.#read(size, 'a chunk'))
      await this.#read(2, 'the end of a chunk')
      if (size === 0) return Buffer.concat(parts)
    }
  }

  #take(length: number): Buffer {
    const all = Buffer.concat(this.#chunks)
    this.#chunks.length = 0
    this.#available = 0
    this.#unread(all.subarray(length))
    return all.subarray(0, length)
  }

  #unread(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#chunks.unshift(bytes)
    this.#available += bytes.length
  }

  #more(what: string, milliseconds: number): Promise<void> {
    return within(
      new Promise((resolve) => {
        this.#wake = resolve
      }),
      what,
      milliseconds,
    )
  }
}
