// POSTs with a body of a few bytes, one behind the other.
import { Buffer } from 'node:buffer'
import { request } from '../../fuzz/wire.mjs'
import { http } from '../limits.mjs'

const blocks = ['/body', '/ignored', '/nowhere'].map((path) =>
  Buffer.concat(Array(1000).fill(request('POST', path, ['Content-Length: 5'], '12345'))),
)

export default {
  name: 'tiny POSTs',
  connections: 4,
  memory: http(),
  async attack(attempt) {
    const connection = await attempt.connect()
    if (connection === undefined) return
    if (attempt.random.chance(0.7)) connection.discard()
    const block = attempt.random.pick(blocks)
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
