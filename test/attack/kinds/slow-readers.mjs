// Echoes are asked for, and read a little at a time or not at all.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const blocks = [100, 10_000, 200_000].map((length) =>
  Buffer.concat(Array(Math.ceil(400_000 / length)).fill(frame(OPCODE.BINARY, Buffer.alloc(length, 'x')))),
)

export default {
  name: 'slow readers of echoes',
  connections: 10,
  memory: webSocket({ payload: 200_000, queued: OPTIONS.maxBackpressure, shortest: 100 }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/echo', { secure: random.chance(0.3) })
    if (connection === undefined) return
    const [block, reads] = [random.pick(blocks), random.chance(0.5)]
    await attempt.repeat(connection, 8000, async () => {
      await connection.write(block)
      if (reads) connection.socket.read(1000)
      await attempt.wait(random.int(50))
    })
  },
}
