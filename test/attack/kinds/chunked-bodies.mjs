// Bodies in chunks of a byte, with extensions or without, and those whose extensions or trailers have no end.
import { Buffer } from 'node:buffer'
import { chunk, request } from '../../fuzz/wire.mjs'
import { http } from '../limits.mjs'

const head = (path) => request('POST', path, ['Transfer-Encoding: chunked'])
const tiny = Buffer.concat(Array(5000).fill(chunk('x')))
const extended = Buffer.concat(Array(500).fill(chunk('x', `;name="${'v'.repeat(100)}"`)))
const endless = Buffer.alloc(65_536, 'e')

export default {
  name: 'chunked bodies',
  connections: 6,
  memory: http(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect()
    if (connection === undefined) return
    connection.discard()
    await connection.write(head(random.pick(['/body', '/ignored'])))
    const [begin, block] = random.pick([
      ['', tiny],
      ['', extended],
      ['1;', endless],
      ['0\r\nTrailer: ', endless],
      ['f', Buffer.alloc(65_536, 'f')],
    ])
    await connection.write(Buffer.from(begin))
    await attempt.repeat(connection, 5000, () => connection.write(block))
  },
}
