// The other end of the wire: clients that behave, and clients that do not. Each resolves when its connection
// has gone.
import { Buffer } from 'node:buffer'
import { connect as connectTcp } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { COMPRESSED, chunk, compress, fragments, frame as frameOf, OPCODE } from './wire.mjs'

const PATHS = [
  '/ws',
  '/ws',
  '/ws',
  '/small',
  '/chat/a',
  '/ws',
  '/ws',
  '/ws',
  '/small',
  '/chat/room',
  '/chat/%zz',
  '/plain',
  '/stream',
  '/body',
  '/any/thing',
  '/health',
  '/nowhere',
]
const ORIGINS = ['http://good.example', 'http://bad.example', 'null']

/** Milliseconds that a connection lasts at most. */
const LIFETIME = 250

const connect = ({ port, host, unix, secure }, options = {}) => {
  const where = unix === undefined ? { port, host } : { path: unix }
  return secure ? connectTls({ ...where, rejectUnauthorized: false, ...options }) : connectTcp({ ...where, ...options })
}

/** The client of the `ws` package, which sends nothing that is wrong. */
export function politeClient(random, target) {
  const { secure, unix, host, port } = target
  const scheme = secure ? 'wss' : 'ws'
  // Over a unix socket it speaks no TLS, which such a server has to bear.
  const origin = unix === undefined ? `${scheme}://${host}:${port}` : `ws+unix:${unix}:`
  const url = `${origin}${random.pick(PATHS)}`
  const protocols = random.chance(0.3) ? ['chat', 'superchat'].slice(random.int(2)) : []
  const client = new WebSocket(url, protocols, {
    rejectUnauthorized: false,
    perMessageDeflate: random.chance(0.3),
    ...(random.chance(0.5) && { origin: random.pick(ORIGINS) }),
  })
  return new Promise((resolve) => {
    const timer = setTimeout(() => client.terminate(), LIFETIME)
    client.on('error', () => {})
    client.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
    client.on('open', async () => {
      if (random.chance(0.1)) client.pause()
      for (let count = random.int(20); count > 0 && client.readyState === WebSocket.OPEN; count--) {
        const kind = random.int(10)
        if (kind === 0) client.ping(random.bytes(random.int(126)))
        else if (kind === 1) client.pong(random.bytes(random.int(126)))
        else client.send(random.data(), { compress: random.chance(0.5), fin: random.chance(0.95) })
        if (random.chance(0.5)) await turn()
      }
      const end = random.int(3)
      if (end === 0) client.close(random.pick([1000, 1001, 3000, 4999]), random.text(random.int(20)))
      else if (end === 1) client.terminate()
    })
  })
}

/** A client made of bytes: requests and frames, some of them broken, cut anywhere, ended in every way. */
export function rawClient(random, target) {
  const parts = []
  if (random.chance(target.proxied ? 0.9 : 0.03)) parts.push(proxyHeader(random))
  // Most speak WebSocket alone, some HTTP before it, and some send more requests than a server answers at
  // once.
  const requests = random.chance(0.8) ? 0 : random.int(random.chance(0.9) ? 6 : 300)
  // Many are all the same: to make each would take longer than to answer it.
  const repeated = requests > 6 ? httpRequest(random, 50) : undefined
  for (let count = requests; count > 0; count--) parts.push(repeated ?? httpRequest(random))
  if (parts.length === 0 || random.chance(0.7)) {
    parts.push(Buffer.from(handshake(random)))
    for (let count = random.int(20); count > 0; count--) parts.push(frames(random))
  }
  const bytes = Buffer.concat(parts)
  if (random.chance(0.3))
    for (let count = random.int(6); count > 0; count--) bytes[random.int(bytes.length || 1)] = random.int(256)
  return talk(random, connect(target, { allowHalfOpen: random.chance(0.3) }), bytes, target.unix === undefined)
}

/** Bytes on a connection, in pieces. */
function talk(random, socket, bytes, isTcp) {
  return new Promise((resolve) => {
    let over = false
    const end = () => socket.destroy()
    const timer = setTimeout(end, LIFETIME)
    socket.on('error', () => {})
    socket.on('close', () => {
      over = true
      clearTimeout(timer)
      resolve()
    })
    if (random.chance(0.1)) socket.pause()
    else socket.on('data', () => random.chance(0.01) && socket.destroy())
    socket.on(socket.encrypted ? 'secureConnect' : 'connect', async () => {
      for (let at = 0; at < bytes.length && !over; ) {
        const size = random.pick([1, 2, 7, 50, 1000, 65_536, bytes.length])
        socket.write(bytes.subarray(at, at + size))
        at += size
        if (random.chance(0.3)) await turn()
      }
      const how = random.int(5)
      if (how === 0) socket.end()
      else if (how === 1) end()
      else if (how === 2 && isTcp && !socket.encrypted) socket.resetAndDestroy()
      else setTimeout(end, random.int(100))
    })
  })
}

function handshake(random) {
  const lines = [
    `GET ${random.pick(PATHS)} HTTP/1.1`,
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
  ]
  if (random.chance(0.3)) lines.push('Sec-WebSocket-Protocol: chat, superchat')
  if (random.chance(0.3))
    lines.push('Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9; server_no_context_takeover')
  if (random.chance(0.3)) lines.push(`Origin: ${random.pick(ORIGINS)}`)
  if (random.chance(0.1)) lines.splice(2 + random.int(lines.length - 2), 1)
  return `${lines.join('\r\n')}\r\n\r\n`
}

function httpRequest(random, maxBody = random.chance(0.1) ? 200_000 : 2000) {
  const path = random.pick(PATHS)
  const method = random.pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'BREW'])
  const head = `${method} ${path}${random.chance(0.2) ? `?q=${'q'.repeat(random.length())}` : ''} HTTP/1.1\r\nHost: localhost\r\n`
  const extra = random.chance(0.2) ? `X-Long: ${'h'.repeat(random.int(20_000))}\r\n` : ''
  const body = random.bytes(random.int(maxBody))
  switch (random.int(5)) {
    case 0:
      return Buffer.concat([Buffer.from(`${head}${extra}Content-Length: ${body.length}\r\n\r\n`), body])
    case 1: {
      const size = random.chance(0.8) || body.length > 2000 ? 1 + random.int(body.length + 1) : 1 + random.int(3)
      const extension = random.chance(0.2) ? `;${'x'.repeat(random.int(200))}` : ''
      const pieces = []
      for (let at = 0; at < body.length; at += size) pieces.push(chunk(body.subarray(at, at + size), extension))
      const end = random.chance(0.9) ? '0\r\n\r\n' : ''
      return Buffer.concat([Buffer.from(`${head}${extra}Transfer-Encoding: chunked\r\n\r\n`), ...pieces, Buffer.from(end)])
    }
    case 2:
      return Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length + 1000}\r\n\r\n`), body])
    default:
      return Buffer.from(`${head}${extra}\r\n`)
  }
}

function proxyHeader(random) {
  const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
  const rest = random.chance(0.5)
    ? Buffer.from([0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 0, 81])
    : Buffer.concat([Buffer.from([0x21, 0x21, 0, 36]), random.bytes(random.int(40))])
  return Buffer.concat([signature, rest])
}

function frames(random) {
  const dice = random.next()
  const opcode = random.chance(0.5) ? OPCODE.TEXT : OPCODE.BINARY
  if (dice < 0.45) return frame(random, opcode, Buffer.from(random.chance(0.5) ? random.text() : random.bytes()))
  if (dice < 0.55) return frame(random, random.chance(0.5) ? OPCODE.PING : OPCODE.PONG, random.bytes(random.int(126)))
  if (dice < 0.72) return Buffer.concat(message(random, opcode))
  if (dice < 0.77) return frame(random, OPCODE.CLOSE, random.pick([[3, 232], [], [1], [15, 160, 65], [3, 237], [3, 232, 0xff]]))
  if (dice < 0.85) return frame(random, opcode, deflated(random), COMPRESSED)
  return frame(random, random.int(16), random.bytes(random.int(200)), {
    fin: random.chance(0.5),
    reserved: random.int(8),
    masked: random.chance(0.8),
    claims: random.chance(0.1) ? 2 ** 32 + 5 : undefined,
  })
}

/**
 * A message in fragments, some of them empty, compressed or not, with control frames in between; it may never
 * end.
 */
function message(random, opcode) {
  const isCompressed = random.chance(0.5)
  const plain = random.chance(0.5) ? Buffer.from(random.text()) : random.bytes()
  const payload = isCompressed ? (random.chance(0.9) ? compress(plain) : random.bytes(random.int(500))) : plain
  const lengths = Array.from({ length: random.chance(0.98) ? random.int(6) : random.int(2000) }, () =>
    random.chance(0.3) ? 0 : random.int(Math.max(2, payload.length / 2)),
  )
  const pieces = fragments(opcode, payload, lengths, isCompressed ? COMPRESSED : {})
  for (let count = random.int(3); count > 0; count--) {
    pieces.splice(
      random.int(pieces.length + 1),
      0,
      frameOf(random.chance(0.9) ? OPCODE.PING : OPCODE.PONG, random.bytes(random.int(126))),
    )
  }
  return random.chance(0.9) ? pieces : pieces.slice(0, -1)
}

/** Messages that inflate to much, blocks of DEFLATE by hand, or nonsense. */
function deflated(random) {
  const stored = random.bytes(random.int(100))
  return random.pick([
    Buffer.concat([Buffer.from([0, stored.length, 0, 255 - stored.length, 255]), stored]),
    Buffer.concat([Buffer.from('ecc18100000000c3a0f9539fe0', 'hex'), Buffer.alloc(random.int(2000), 0)]),
    compress(Buffer.alloc(random.length() * 20)),
    compress(random.bytes()),
    random.bytes(random.int(500)),
  ])
}

function frame(random, opcode, payload, { masked = true, ...options } = {}) {
  return frameOf(opcode, payload, { ...options, mask: masked ? random.bytes(4) : null })
}
