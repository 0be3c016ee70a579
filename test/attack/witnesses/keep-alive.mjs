// Requests on a connection that stays.
import { content } from '../content.mjs'
import { agentOf, exchange, expect } from '../peers.mjs'

export default {
  name: 'HTTP, kept alive',
  count: 6,
  async witness(witness) {
    const { target, random } = witness
    const agent = agentOf(target, true)
    let seed = 0
    await witness.keep(async () => {
      seed += 1
      const length = random.int(random.chance(0.9) ? 2000 : 200_000)
      const { status, body } = await exchange(target, { agent, path: `/content/${seed}/${length}` })
      expect(status === 200 && body.equals(content(seed, length)), `${body.length} of ${length} bytes, or wrong ones: ${status}`)
    })
    agent.destroy()
  },
}
