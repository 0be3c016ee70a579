// Subscribers of a topic that has much to say, who read nothing.
import { OPTIONS, webSocket } from '../limits.mjs'

export default {
  name: 'slow subscribers',
  connections: 20,
  memory: webSocket({ queued: OPTIONS.maxBackpressure }),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.upgrade('/topics/flood', { secure: random.chance(0.3) })
    if (connection === undefined) return
    await attempt.wait(3000 + random.int(8000))
  },
}
