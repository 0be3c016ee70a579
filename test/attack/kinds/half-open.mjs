// Clients that have said all they have to say (FIN), and go on to read, or to wait.
import { Buffer } from 'node:buffer'
import { frame, handshake, OPCODE, request } from '../../fuzz/wire.mjs'
import { http, OPTIONS, webSocket } from '../limits.mjs'

export default {
  name: 'half-open connections',
  connections: 30,
  memory: (engine) => Math.max(http()(engine), webSocket({ payload: OPTIONS.maxPayloadLength })(engine)),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect({ secure: random.chance(0.2), allowHalfOpen: true })
    if (connection === undefined) return
    await connection.write(
      random.pick([
        '',
        'GET /small HT',
        request('GET', random.pick(['/small', '/big', '/later'])),
        request('POST', '/body', ['Content-Length: 1000'], 'not all of it'),
        handshake('/later'),
        Buffer.concat([handshake('/echo'), frame(OPCODE.TEXT, 'hello')]),
        Buffer.concat([handshake('/echo'), frame(OPCODE.BINARY, 'x', { claims: 500_000 })]),
      ]),
    )
    connection.end()
    if (random.chance(0.5)) connection.discard()
    await Promise.race([connection.closed(), attempt.wait(5000)])
  },
}
