// Compressed messages of a few kilobytes that inflate to as much as they may, and to more; that inflate to
// nothing, with much work; and many that are not compressed at all well.
import { Buffer } from 'node:buffer'
import { COMPRESSED, compress, fragments, frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const fields = ['Sec-WebSocket-Extensions: permessage-deflate']
const bomb = compress(Buffer.alloc(OPTIONS.maxInflatedLength, 'a'))
/** Eight empty blocks, each with codes of its own (RFC 1951, section 3.2.7): work, and nothing comes out. */
const eight = Buffer.from(
  '04c081000000000090ff6b100007020000000040feaf41001c080000000000f9bf060170200000000000e4ff1a'.repeat(2),
  'hex',
)
const emptyBlocks = Buffer.concat([...Array(700).fill(eight), Buffer.alloc(1)])
const blocks = [
  Buffer.concat(Array(10).fill(frame(OPCODE.BINARY, bomb, COMPRESSED))),
  Buffer.concat(Array(10).fill(frame(OPCODE.TEXT, bomb, COMPRESSED))),
  Buffer.concat(fragments(OPCODE.BINARY, bomb, Array(bomb.length).fill(1), COMPRESSED)),
  Buffer.concat(Array(1000).fill(frame(OPCODE.TEXT, compress('x'), COMPRESSED))),
  frame(OPCODE.BINARY, emptyBlocks, COMPRESSED),
  Buffer.concat(Array(5).fill(frame(OPCODE.BINARY, compress(Buffer.alloc(OPTIONS.maxInflatedLength + 1)), COMPRESSED))),
]

export default {
  name: 'compressed messages',
  connections: 4,
  memory: webSocket({ payload: emptyBlocks.length, inflated: OPTIONS.maxInflatedLength }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/deflate', { fields })
    if (connection === undefined) return
    connection.discard()
    const block = random.pick(blocks)
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
