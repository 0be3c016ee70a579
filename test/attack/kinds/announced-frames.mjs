// Frames whose heads announce a long message, of which only a few bytes come.
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

export default {
  name: 'announced frames',
  connections: 150,
  memory: webSocket(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/sink', { secure: random.chance(0.1) })
    if (connection === undefined) return
    const claims = OPTIONS.maxPayloadLength - random.int(2)
    await connection.write(frame(random.pick([OPCODE.TEXT, OPCODE.BINARY]), 'x', { claims, fin: random.chance(0.5) }))
    await attempt.wait(2000 + random.int(5000))
  },
}
