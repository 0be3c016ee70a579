// Bytes that are nothing, where a request belongs, where frames belong, and in the place of both.
import { handshake, request } from '../../fuzz/wire.mjs'
import { http, OPTIONS, webSocket } from '../limits.mjs'

export default {
  name: 'garbage',
  connections: 20,
  memory: (engine) => Math.max(http()(engine), webSocket({ payload: OPTIONS.maxPayloadLength })(engine)),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect({ secure: random.chance(0.1) })
    if (connection === undefined) return
    if (random.chance(0.5)) connection.discard()
    const start = random.pick([
      '',
      handshake('/echo'),
      handshake('/deflate', ['Sec-WebSocket-Extensions: permessage-deflate']),
      request('POST', '/body', ['Transfer-Encoding: chunked']),
    ])
    await connection.write(start)
    if (start !== '') await attempt.wait(20)
    await attempt.repeat(connection, 1000, () => connection.write(random.bytes(random.pick([1, 10, 1000, 60_000]))))
  },
}
