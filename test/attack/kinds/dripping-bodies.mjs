// Bodies that come byte by byte, and may never be whole.
import { Buffer } from 'node:buffer'
import { chunk, request } from '../../fuzz/wire.mjs'
import { http } from '../limits.mjs'

export default {
  name: 'dripping bodies',
  connections: 60,
  memory: http(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect()
    if (connection === undefined) return
    const isChunked = random.chance(0.5)
    const path = random.pick(['/body', '/upload', '/ignored'])
    const framing = isChunked ? 'Transfer-Encoding: chunked' : 'Content-Length: 100000'
    await connection.write(request(path === '/upload' ? 'PUT' : 'POST', path, [framing]))
    await attempt.repeat(connection, 20_000, async () => {
      await connection.write(isChunked ? chunk('x') : Buffer.from('x'))
      await attempt.wait(random.int(1500))
    })
  },
}
