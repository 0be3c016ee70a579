// Messages in thousands of fragments, empty ones among them, that end or do not, with Pings in between.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const begin = (opcode) => frame(opcode, 'b', { fin: false })
const blocks = ['', 'x', 'x'.repeat(500)].map((payload) =>
  Buffer.concat(Array(5000).fill(frame(OPCODE.CONTINUATION, payload, { fin: false }))),
)
const end = frame(OPCODE.CONTINUATION, 'e')
const ping = frame(OPCODE.PING, 'in between')

export default {
  name: 'fragments',
  connections: 8,
  memory: webSocket({ payload: OPTIONS.maxPayloadLength }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/sink')
    if (connection === undefined) return
    connection.discard()
    const [block, ends, pings] = [random.pick(blocks), random.chance(0.5), random.chance(0.3)]
    let blocksSent = 0
    await connection.write(begin(random.pick([OPCODE.TEXT, OPCODE.BINARY])))
    await attempt.repeat(connection, 5000, async () => {
      await connection.write(block)
      if (pings) await connection.write(ping)
      blocksSent += 1
      if (!ends || blocksSent % 3 !== 0) return
      await connection.write(end)
      await connection.write(begin(OPCODE.BINARY))
    })
  },
}
