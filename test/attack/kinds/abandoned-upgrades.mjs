// Upgrades that the server takes its time over, and whose clients do not wait, or talk meanwhile.
import { Buffer } from 'node:buffer'
import { frame, handshake, OPCODE } from '../../fuzz/wire.mjs'
import { webSocket } from '../limits.mjs'

const chatter = Buffer.concat(Array(1000).fill(frame(OPCODE.TEXT, 'too early, by the book')))

export default {
  name: 'abandoned upgrades',
  connections: 40,
  memory: webSocket(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect({ secure: random.chance(0.1) })
    if (connection === undefined) return
    await connection.write(handshake('/later'))
    if (random.chance(0.3)) {
      await attempt.repeat(connection, 1000, () => connection.write(chatter))
      return
    }
    await attempt.wait(random.int(400))
    if (random.chance(0.5)) connection.reset()
  },
}
