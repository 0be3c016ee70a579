// Messages of no bytes or a few, as fast as they go.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { webSocket } from '../limits.mjs'

const blocks = ['', 'x', 'x'.repeat(30)].map((payload) => Buffer.concat(Array(10_000).fill(frame(OPCODE.TEXT, payload))))

export default {
  name: 'tiny messages',
  connections: 8,
  memory: webSocket(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade(random.pick(['/sink', '/echo']), { secure: random.chance(0.2) })
    if (connection === undefined) return
    connection.discard()
    const block = random.pick(blocks)
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
