// WebSockets that are opened, used a little or not at all, closed, and opened again.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { webSocket } from '../limits.mjs'

const close = frame(OPCODE.CLOSE, [3, 232])

export default {
  name: 'Close and reconnect',
  connections: 20,
  memory: webSocket(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade(random.pick(['/echo', '/topics/flood']), { secure: random.chance(0.1) })
    if (connection === undefined) return
    connection.discard()
    if (random.chance(0.5)) await connection.write(frame(OPCODE.TEXT, 'hello'))
    // More of them than one, and more behind them.
    await connection.write(Buffer.concat(Array(1 + random.int(100)).fill(close)))
    if (random.chance(0.8)) await Promise.race([connection.closed(), attempt.wait(2000)])
  },
}
