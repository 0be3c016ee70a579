// Frames that break a rule of RFC 6455, in the middle of such as do not.
import { Buffer } from 'node:buffer'
import { frame, OPCODE } from '../../fuzz/wire.mjs'
import { OPTIONS, webSocket } from '../limits.mjs'

const good = frame(OPCODE.TEXT, 'good')
const broken = [
  frame(OPCODE.TEXT, 'unmasked', { mask: null }),
  frame(OPCODE.TEXT, 'reserved', { reserved: 7 }),
  frame(3, 'an unknown opcode'),
  frame(OPCODE.CONTINUATION, 'of nothing'),
  frame(OPCODE.PING, 'in fragments', { fin: false }),
  frame(OPCODE.PING, 'x'.repeat(126)),
  frame(OPCODE.TEXT, [0xc3, 0x28]),
  frame(OPCODE.CLOSE, [1]),
  frame(OPCODE.CLOSE, [3, 237]),
  frame(OPCODE.TEXT, 'x', { claims: OPTIONS.maxPayloadLength + 1 }),
  frame(OPCODE.TEXT, 'x', { claims: 2 ** 52 }),
]

export default {
  name: 'protocol errors',
  connections: 10,
  memory: webSocket({ queued: OPTIONS.maxBackpressure }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/echo')
    if (connection === undefined) return
    if (random.chance(0.7)) connection.discard()
    const pieces = Array.from({ length: random.int(200) }, () => good)
    await connection.write(Buffer.concat([...pieces, random.pick(broken), ...pieces]))
    await Promise.race([connection.closed(), attempt.wait(1000)])
  },
}
