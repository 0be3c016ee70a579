/**
 * What one connection makes the server hold: many of one kind hold as much as they can at once, and the
 * memory of the server, in a process of its own, grows by no more than docs/limits.md says of each.
 * test/attack/limits.mjs has the formulas.
 */

import { randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { Duplex } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls'
import { expect, test } from 'vitest'
import { localhostCertificate } from '../support/certificates.js'
import { Child } from '../support/child.js'
import { deflateMessage, RSV1 } from '../support/deflate.js'
import { addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { SIGNATURE } from '../support/proxy-header.js'
import { binary, type FrameToSend, frame, handshake, OPCODE, RawClient, text } from '../support/raw-client.js'

type Formula = (engine: EngineName) => number
interface Formulas
  extends Readonly<
    Record<
      | 'objects'
      | 'proxyHeader'
      | 'tls'
      | 'certificates'
      | 'handshake'
      | 'head'
      | 'behind'
      | 'behindTls'
      | 'undecided'
      | 'undecidedTls'
      | 'unreadBody'
      | 'collectedBody'
      | 'framesTls'
      | 'zlib',
      Formula
    >
  > {
  readonly OPTIONS: Readonly<Record<'maxPayloadLength' | 'maxInflatedLength' | 'maxRequestBodySize' | 'maxBackpressure', number>>
  readonly MESSAGE: number
  responses(bytes: number): Formula
  beginningStream(piece: number): Formula
  stream(piece: number): Formula
  delivered(maxPayloadLength: number): Formula
  deliveredText(maxPayloadLength: number): Formula
  frames(compressed?: number): Formula
  pongs(length: number): Formula
  coming(bytes: number, maxPayloadLength: number): Formula
  compressed(maxPayloadLength: number): Formula
  inflating(bytes: number, clients: number): Formula
  waiting(bytes: number, shortest: number): Formula
  sum(...formulas: Formula[]): Formula
}
const limits: Formulas = await import('../attack/limits.mjs' as string)
const { maxPayloadLength, maxInflatedLength, maxRequestBodySize, maxBackpressure } = limits.OPTIONS

const KiB = 1024
const MiB = 1024 * KiB
/** What a process has beside: pages of heaps that are not full, and of V8's that it has not given back. */
const ALLOWANCE = 8 * MiB
/** More than the kernel's buffers of a connection take (4 MiB on Linux, tcp_wmem). */
const RESPONSE = 8 * MiB

interface Kind {
  readonly name: string
  readonly clients: number
  /** Default: plain TCP. `hello`: TCP, where TLS is expected. */
  readonly port?: 'plain' | 'secure' | 'hello' | 'proxied' | 'mutual' | 'mutual hello'
  /** Of a WebSocket, which is open before `sends` is sent. */
  readonly path?: string
  /** In pieces, each of which is sent when all clients have sent the one before. */
  readonly sends: () => readonly (string | Uint8Array | ((client: RawClient) => void))[]
  /** Each waits for a frame of the server before the next one sends. */
  readonly isAnswered?: boolean
  /** Bytes of the response that each reads before it stops. Default: none, or what `isAnswered` asks for. */
  readonly takes?: number
  readonly holds: Formula
  /**
   * Bytes that each holds at least, so that the test cannot pass because nothing came. 0 where that is too
   * little to be seen.
   */
  readonly atLeast: number
}

const request = (line: string, ...fields: string[]) => `${line} HTTP/1.1\r\n${['Host: a', ...fields].join('\r\n')}\r\n\r\n`
const filler = (length: number) => Buffer.alloc(length, 'x')
const repeated = (bytes: Buffer, times: number) => Buffer.concat(Array<Buffer>(times).fill(bytes))
/** A message of which all has come but for its end, in frames of 1,000 bytes. */
const unfinished = (payload: Buffer, more: Partial<FrameToSend> = {}) => {
  const frames = [frame({ opcode: OPCODE.BINARY, fin: false, ...more })]
  for (let at = 0; at < payload.length; at += 1000) {
    frames.push(frame({ opcode: OPCODE.CONTINUATION, payload: payload.subarray(at, at + 1000), fin: false }))
  }
  return Buffer.concat(frames)
}
const unreadBody = () => [request('POST /unread', `Content-Length: ${2 * MiB}`), filler(2 * MiB)]
const { objects, sum } = limits

let chain: SecureContext | undefined
/** Shows certificates of not quite 100 KiB, which is what OpenSSL takes; the first is trusted. */
function longChain(): SecureContext {
  const { key, cert } = localhostCertificate()
  const bytes = new X509Certificate(cert).raw.length
  chain ??= createSecureContext({ key, ca: cert, cert: cert.repeat(Math.floor((99 * KiB) / (bytes + 5))) })
  return chain
}

/** Stops reading after so many bytes. */
async function take(client: RawClient, bytes: number): Promise<void> {
  while (client.socket.bytesRead < bytes) await once(client.socket, 'data')
  client.pause()
}

/** Shakes hands over TLS, and sends so many bytes of it. */
function shakeHands(client: RawClient, bytes: number): void {
  let left = bytes
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      const part = chunk.subarray(0, left)
      left -= part.length
      if (part.length > 0) client.socket.write(part)
      done()
    },
  })
  client.socket.on('data', (data) => transport.push(data))
  client.resume()
  connectTls({ socket: transport, servername: 'localhost', secureContext: longChain() }).on('error', () => {})
}

const KINDS: readonly Kind[] = [
  {
    name: 'an incomplete head, in pieces',
    clients: 300,
    sends: () => ['GET / HTTP/1.1\r\nHost: a\r\nX: ', filler(3000), filler(6000), filler(6000)],
    holds: sum(objects, limits.head),
    atLeast: 8 * KiB,
  },
  {
    name: 'requests behind one that is not answered',
    clients: 200,
    sends: () => [request('GET /never'), request('GET /never').repeat(50_000)],
    holds: sum(objects, limits.behind),
    atLeast: 40 * KiB,
  },
  {
    name: 'responses that are not taken',
    clients: 10,
    sends: () => [request('GET /big').repeat(1000)],
    holds: sum(objects, limits.behind, limits.responses(RESPONSE)),
    atLeast: 2 * MiB,
  },
  {
    name: 'a body that is not read',
    clients: 200,
    sends: unreadBody,
    holds: sum(objects, limits.unreadBody),
    atLeast: 40 * KiB,
  },
  {
    name: 'a body that is collected, and lacks a byte',
    clients: 10,
    sends: () => [request('POST /collected', `Content-Length: ${maxRequestBodySize}`), filler(maxRequestBodySize - 1)],
    holds: sum(objects, limits.collectedBody),
    atLeast: maxRequestBodySize / 2,
  },
  {
    name: 'a message in fragments, of which the last is missing',
    clients: 50,
    path: '/sink',
    sends: () => [unfinished(filler(maxPayloadLength))],
    holds: sum(objects, limits.coming(maxPayloadLength, maxPayloadLength)),
    atLeast: maxPayloadLength / 2,
  },
  {
    name: 'a message in one frame, of which the last byte is missing',
    clients: 50,
    path: '/sink',
    sends: () => [binary(filler(maxPayloadLength)).subarray(0, -1)],
    holds: sum(objects, limits.coming(maxPayloadLength, maxPayloadLength)),
    atLeast: maxPayloadLength / 2,
  },
  {
    name: 'a frame that announces a long message, and one byte of it',
    clients: 300,
    path: '/sink',
    sends: () => [binary('x', { claimedLength: BigInt(maxPayloadLength) })],
    // What the portable engine may take for its length, it must not take for the announcement.
    holds: sum(objects, limits.coming(1, 0)),
    atLeast: 0,
  },
  {
    name: 'a compressed message in fragments, of which the last is missing',
    clients: 30,
    path: '/deflate',
    sends: () => [unfinished(deflateMessage(randomBytes(maxPayloadLength - KiB)), { reserved: RSV1 })],
    holds: sum(objects, limits.coming(maxPayloadLength, maxPayloadLength), limits.zlib, limits.compressed(maxPayloadLength)),
    atLeast: maxPayloadLength / 2,
  },
  {
    name: 'a connection whose compressed message was delivered',
    clients: 100,
    path: '/deflate',
    sends: () => [frame({ opcode: OPCODE.BINARY, payload: deflateMessage(filler(maxPayloadLength)), reserved: RSV1 })],
    holds: sum(objects, limits.zlib),
    atLeast: 0,
  },
  {
    name: 'a WebSocket that was paused',
    clients: 200,
    path: '/paused',
    sends: () => [repeated(binary(filler(1000)), 2000)],
    holds: sum(objects, limits.frames()),
    atLeast: 16 * KiB,
  },
  {
    name: 'a socket paused in a compressed message',
    clients: 100,
    path: '/paused-deflate',
    isAnswered: true,
    sends: () => [
      Buffer.concat([
        binary('x'),
        frame({ opcode: OPCODE.BINARY, payload: deflateMessage(filler(maxInflatedLength)), reserved: RSV1 }),
      ]),
    ],
    holds: sum(objects, limits.frames(8 * KiB), limits.zlib, limits.inflating(maxInflatedLength, 100)),
    atLeast: 0,
  },
  {
    name: 'a WebSocket that does not take what is echoed',
    clients: 20,
    path: '/full',
    // The first one fills the buffers of the kernels at both ends. What the allocator keeps of short
    // messages, which come and go, would be counted too.
    sends: () => [binary(filler(100_000)), repeated(binary(filler(100_000)), 20)],
    holds: sum(objects, limits.frames(), limits.coming(100_000, maxPayloadLength), limits.waiting(maxBackpressure, 100_000)),
    atLeast: maxBackpressure / 2,
  },
  {
    name: 'a TLS connection without a request',
    clients: 200,
    port: 'secure',
    sends: () => ['GET'],
    holds: sum(objects, limits.tls),
    atLeast: 0,
  },
  {
    name: 'a body that is not read, over TLS',
    clients: 200,
    port: 'secure',
    sends: unreadBody,
    holds: sum(objects, limits.tls, limits.unreadBody),
    atLeast: 40 * KiB,
  },
  {
    name: 'requests behind one that is not answered, over TLS',
    clients: 100,
    port: 'secure',
    sends: () => [request('GET /never'), request('GET /never').repeat(20_000)],
    holds: sum(objects, limits.tls, limits.behindTls),
    atLeast: 40 * KiB,
  },
  {
    name: 'a WebSocket that was paused, over TLS',
    clients: 100,
    port: 'secure',
    path: '/paused',
    sends: () => [repeated(binary(filler(1000)), 1000)],
    holds: sum(objects, limits.tls, limits.framesTls),
    atLeast: 16 * KiB,
  },
  ...(['plain', 'secure'] as const).map(
    (port): Kind => ({
      name: `what is behind a handshake that is not decided, ${port}`,
      clients: 100,
      port,
      sends: () => [handshake({ path: '/undecided' }), repeated(binary(filler(1000)), 1000)],
      holds: port === 'plain' ? sum(objects, limits.undecided) : sum(objects, limits.tls, limits.undecidedTls),
      atLeast: 40 * KiB,
    }),
  ),
  ...[0, 125].map(
    (length): Kind => ({
      name: `Pongs of ${length} bytes that are not taken`,
      clients: 20,
      path: '/full',
      sends: () => [binary(filler(64 * KiB)), repeated(frame({ opcode: OPCODE.PING, payload: filler(length) }), 20_000)],
      holds: sum(objects, limits.frames(), limits.pongs(length)),
      atLeast: 0,
    }),
  ),
  {
    name: 'a streamed response that is not taken',
    clients: 5,
    sends: () => [request('GET /stream')],
    holds: sum(objects, limits.beginningStream(RESPONSE)),
    atLeast: 2 * MiB,
  },
  {
    name: 'a streamed response that is taken in part',
    clients: 5,
    sends: () => [request('GET /stream')],
    takes: 2 * RESPONSE,
    holds: sum(objects, limits.stream(RESPONSE)),
    atLeast: 2 * MiB,
  },
  {
    name: 'a streamed message that is not taken',
    clients: 5,
    path: '/stream-message',
    sends: () => [binary('x')],
    holds: sum(objects, limits.frames(), limits.waiting(RESPONSE, RESPONSE)),
    atLeast: 2 * MiB,
  },
  {
    name: 'a ClientHello that is not whole',
    clients: 600,
    port: 'hello',
    // One record of 16 KiB, in which the message goes on.
    sends: () => [Buffer.concat([Buffer.from('1603014000010000fffc0303', 'hex'), filler(16_000)])],
    holds: sum(objects, limits.handshake),
    atLeast: 8 * KiB,
  },
  {
    name: 'a TLS handshake that ends in the certificates of the client',
    clients: 100,
    port: 'mutual hello',
    sends: () => [(client) => shakeHands(client, 96 * KiB)],
    holds: sum(objects, limits.handshake),
    atLeast: 40 * KiB,
  },
  {
    name: 'a TLS connection of a client with many certificates',
    clients: 20,
    port: 'mutual',
    sends: () => ['GET'],
    holds: sum(objects, limits.tls, limits.certificates),
    atLeast: 512 * KiB,
  },
  {
    name: 'a PROXY header that is not whole',
    clients: 300,
    port: 'proxied',
    sends: () => [Buffer.concat([SIGNATURE, Buffer.from('21113ff0', 'hex'), filler(16_000)])],
    holds: sum(objects, limits.proxyHeader),
    atLeast: 0,
  },
]

function startServer(engine: EngineName): Child {
  const { key, cert } = localhostCertificate()
  return new Child('held-memory.mjs', {
    args: [engine, String(key), String(cert), String(RESPONSE)],
    execArgv: ['--expose-gc', '--max-semi-space-size=1'],
    // The allocator of Linux gives back what is freed.
    env: { MALLOC_MMAP_THRESHOLD_: '65536', MALLOC_TRIM_THRESHOLD_: '65536', MALLOC_ARENA_MAX: '1' },
  })
}

/** Looks at the server's memory that must be alike, and milliseconds between two of them. */
const QUIET_LOOKS = 4
const LOOK = 40

/** The same where the garbage is collected at each look, which takes long. */
const QUIET_COLLECTIONS = 2

/**
 * Waits until the server has nothing to do any more, which no event tells: it was idle and its memory the
 * same for some looks on end, and nothing was written to it meanwhile. A look that comes late does not count:
 * on a busy machine the server, or who writes to it, may not have had a processor. Gives the bytes of the
 * server's memory, garbage among them.
 */
async function quiet(server: Child, clients: readonly RawClient[] = [], { collects = false } = {}): Promise<number> {
  let [last, lastWritten, times] = [0, 0, 0]
  while (times < (collects ? QUIET_COLLECTIONS : QUIET_LOOKS)) {
    const start = performance.now()
    await wait(LOOK)
    const waited = performance.now() - start
    server.process.stdin?.write(collects ? 'gc\n' : '\n')
    const [memory, busy]: [number, number] = JSON.parse(await server.line('its memory'))
    const written = clients.reduce((sum, { socket }) => sum + socket.bytesWritten - socket.writableLength, 0)
    const isLate = (collects ? waited : performance.now() - start) > 3 * LOOK
    const isQuiet = !isLate && busy < 5 && Math.abs(memory - last) < 256 * KiB && written === lastWritten
    times = isQuiet ? times + 1 : 0
    last = memory
    lastWritten = written
  }
  return last
}

/** Bytes of the server's memory when the server is quiet, without garbage. */
async function settled(server: Child): Promise<number> {
  await quiet(server)
  return quiet(server, [], { collects: true })
}

describeEngines('memory of the server is within docs/limits.md for', (engine) => {
  test.each(KINDS)(
    '$name',
    async ({ clients: count, port = 'plain', path, sends, isAnswered = false, takes = 0, holds, atLeast }) => {
      const server = startServer(engine)
      const [plain, secure, proxied, mutual] = JSON.parse(await server.line('its ports'))
      const address = addressOf(
        { plain, secure, hello: secure, proxied, mutual, 'mutual hello': mutual }[port],
        '127.0.0.1',
        port === 'secure' || port === 'mutual',
      )
      const headers = path?.endsWith('deflate') ? ['Sec-WebSocket-Extensions: permessage-deflate'] : []
      const pieces = sends()
      const connect = () =>
        path === undefined
          ? RawClient.connect(address, port === 'mutual' ? { secureContext: longChain() } : {})
          : RawClient.open(address, { path, headers })
      const hold = async (number: number) => {
        const clients: RawClient[] = []
        while (clients.length < number) clients.push(...(await Promise.all(Array.from({ length: 5 }, connect))))
        if (!isAnswered && takes === 0) for (const client of clients) client.pause()
        for (const piece of pieces) {
          for (const client of clients) {
            if (typeof piece === 'function') piece(client)
            else client.socket.write(piece)
            if (isAnswered) await client.frame()
            if (takes > 0) await take(client, takes)
          }
          await quiet(server, clients)
        }
        return clients
      }
      // What the first ones take, such as code that is compiled, stays.
      for (const client of await hold(5)) client.vanish()
      const before = await settled(server)
      await hold(count)
      const grown = (await settled(server)) - before
      expect(grown).toBeLessThanOrEqual(count * holds(engine) + ALLOWANCE)
      if (atLeast > 0) expect(grown).toBeGreaterThan((count * atLeast) / 2)
    },
    90_000,
  )
})

/** How many bytes of memory the process had at most since it was asked before (Linux). */
function peakOf({ process: { pid } }: Child): number {
  const [, kibibytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
  return Number(kibibytes) * KiB
}
const canTellPeak = existsSync('/proc/self/clear_refs')

describeEngines(
  `a message that is delivered${canTellPeak ? '' : ' (skipped: only Linux tells the peak of memory)'}`,
  (engine) => {
    test.runIf(canTellPeak)('takes no more memory than docs/limits.md says, whatever its kind', async () => {
      const { MESSAGE } = limits
      const zeros = Buffer.alloc(MESSAGE)
      const wide = Buffer.concat([Buffer.from('€'), zeros.subarray(3)])
      const compressed = (payload: Uint8Array) =>
        frame({ opcode: OPCODE.BINARY, payload: deflateMessage(payload), reserved: RSV1 })
      const inflated = sum(limits.zlib, limits.delivered(MESSAGE))
      const messages: Record<string, [bytes: Buffer, holds: Formula]> = {
        bytes: [binary(zeros), limits.delivered(MESSAGE)],
        'text with one character beyond Latin-1': [text(wide), limits.deliveredText(MESSAGE)],
        'such a text in fragments': [
          Buffer.concat([unfinished(wide, { opcode: OPCODE.TEXT }), frame({ opcode: OPCODE.CONTINUATION })]),
          limits.deliveredText(MESSAGE),
        ],
        'compressed bytes': [compressed(zeros), inflated],
        'bytes that compression makes longer': [
          compressed(randomBytes(MESSAGE - 64 * KiB)),
          sum(inflated, limits.compressed(MESSAGE)),
        ],
      }
      const server = startServer(engine)
      const [port] = JSON.parse(await server.line('its ports'))
      const headers = ['Sec-WebSocket-Extensions: permessage-deflate']
      const client = await RawClient.open(addressOf(port), { path: '/delivered', headers })
      for (const [name, [bytes, holds]] of Object.entries(messages)) {
        const before = await settled(server)
        peakOf(server)
        client.write(bytes)
        expect((await client.frame()).payload.toString()).toBe('delivered')
        const grown = peakOf(server) - before
        expect(grown, name).toBeLessThanOrEqual(holds(engine) + ALLOWANCE)
        expect(grown, name).toBeGreaterThan(MESSAGE)
      }
    })
  },
)
