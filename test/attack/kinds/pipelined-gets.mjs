// GETs without end, one behind the other, whose answers are read.
import { Buffer } from 'node:buffer'
import { request } from '../../fuzz/wire.mjs'
import { http } from '../limits.mjs'

const block = Buffer.concat(Array(2000).fill(request('GET', '/small')))

export default {
  name: 'pipelined GETs',
  connections: 6,
  memory: http(),
  async attack(attempt) {
    const connection = await attempt.connect({ secure: attempt.random.chance(0.2) })
    if (connection === undefined) return
    connection.discard()
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
