// Messages on a route that limits how many a client may send, far beyond that.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const blocks = [200, 5000, 900_000].map((length) =>
  Buffer.concat(Array(Math.ceil(500_000 / length)).fill(frame(OPCODE.BINARY, Buffer.alloc(length, 'x')))),
)

export default {
  name: 'beyond the rate limit',
  connections: 8,
  memory: webSocket({ payload: OPTIONS.maxPayloadLength }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade(random.pick(['/limited', '/limited', '/limited-close']))
    if (connection === undefined) return
    connection.discard()
    const block = random.pick(blocks)
    await attempt.repeat(connection, 6000, () => connection.write(block))
  },
}
