// Connections that are reset in the middle of something.
import { Buffer } from 'node:buffer'
import { chunk, frame, handshake, OPCODE, request } from '../../fuzz/wire.mjs'
import { BIG, http, OPTIONS, webSocket } from '../limits.mjs'

const middles = [
  request('GET', '/big'),
  request('GET', `/stream/7/${BIG}`),
  request('GET', '/later'),
  Buffer.concat([request('PUT', '/upload', ['Transfer-Encoding: chunked']), chunk('x'.repeat(10_000))]),
  Buffer.concat(Array(200).fill(request('GET', '/small'))),
  handshake('/later'),
  handshake('/topics/flood'),
  Buffer.concat([handshake('/echo'), ...Array(200).fill(frame(OPCODE.BINARY, 'x'.repeat(1000)))]),
  Buffer.concat([handshake('/sink'), frame(OPCODE.TEXT, 'begin', { fin: false })]),
  Buffer.concat([handshake('/echo'), frame(OPCODE.CLOSE, [3, 232])]),
]

export default {
  name: 'resets',
  connections: 20,
  memory: (engine) => Math.max(http({ response: BIG })(engine), webSocket({ queued: OPTIONS.maxBackpressure })(engine)),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect({ secure: random.chance(0.2) })
    if (connection === undefined) return
    await connection.write(random.pick(middles))
    if (random.chance(0.7)) await attempt.wait(random.int(300))
    connection.reset()
  },
}
