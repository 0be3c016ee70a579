// GETs of a large answer, one behind the other, of which nothing is read.
import { Buffer } from 'node:buffer'
import { request } from '../../fuzz/wire.mjs'
import { BIG, http } from '../limits.mjs'

const blocks = ['/big', `/content/7/${BIG}`, `/stream/7/${BIG}`].map((path) =>
  Buffer.concat(Array(300).fill(request('GET', path))),
)

export default {
  name: 'unread answers',
  connections: 8,
  memory: http({ response: BIG }),
  async attack(attempt) {
    const connection = await attempt.connect({ secure: attempt.random.chance(0.3) })
    if (connection === undefined) return
    const block = attempt.random.pick(blocks)
    await attempt.repeat(connection, 8000, () => connection.write(block))
  },
}
