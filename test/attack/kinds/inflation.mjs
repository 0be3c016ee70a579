// Compressed messages of a few kilobytes that inflate to as much as they may, and to more; and many that are
// not compressed at all well.
import { Buffer } from 'node:buffer'
import { COMPRESSED, compress, fragments, frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const fields = ['Sec-WebSocket-Extensions: permessage-deflate']
const bomb = compress(Buffer.alloc(OPTIONS.maxInflatedLength, 'a'))
const blocks = [
  Buffer.concat(Array(10).fill(frame(OPCODE.BINARY, bomb, COMPRESSED))),
  Buffer.concat(Array(10).fill(frame(OPCODE.TEXT, bomb, COMPRESSED))),
  Buffer.concat(fragments(OPCODE.BINARY, bomb, Array(bomb.length).fill(1), COMPRESSED)),
  Buffer.concat(Array(1000).fill(frame(OPCODE.TEXT, compress('x'), COMPRESSED))),
  Buffer.concat(Array(5).fill(frame(OPCODE.BINARY, compress(Buffer.alloc(OPTIONS.maxInflatedLength + 1)), COMPRESSED))),
]

export default {
  name: 'compressed messages',
  connections: 4,
  memory: webSocket({ payload: bomb.length, inflated: OPTIONS.maxInflatedLength }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/deflate', { fields })
    if (connection === undefined) return
    connection.discard()
    const block = random.pick(blocks)
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
