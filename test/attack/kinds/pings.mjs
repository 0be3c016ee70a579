// Pings and Pongs as fast as they go; the Pongs that answer them are read, or not.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const blocks = [frame(OPCODE.PING), frame(OPCODE.PING, 'p'.repeat(125)), frame(OPCODE.PONG)].map((one) =>
  Buffer.concat(Array(5000).fill(one)),
)

export default {
  name: 'Pings and Pongs',
  connections: 6,
  memory: webSocket({ queued: OPTIONS.maxBackpressure, shortest: 100 }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade(random.pick(['/sink', '/echo']))
    if (connection === undefined) return
    if (random.chance(0.5)) connection.discard()
    const block = random.pick(blocks)
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
