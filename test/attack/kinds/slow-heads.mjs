// Heads that come a few bytes at a time, and never to an end.
import { http } from '../limits.mjs'

export default {
  name: 'slow heads',
  connections: 80,
  memory: http(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect()
    if (connection === undefined) return
    await connection.write(random.pick(['', 'G', 'GET /small HTTP/1.1\r\nHost: localhost\r\nX-Slow: ']))
    await attempt.repeat(connection, 20_000, async () => {
      await attempt.wait(200 + random.int(2000))
      await connection.write('x')
    })
  },
}
