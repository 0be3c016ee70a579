// Bodies of some megabytes that are streamed, and compared as they come.
import { Comparison } from '../content.mjs'
import { agentOf, exchange, expect } from '../peers.mjs'

export default {
  name: 'downloads',
  count: 4,
  async witness(witness) {
    const { target, random } = witness
    const agent = agentOf(target, true)
    let seed = 0
    await witness.keep(async () => {
      seed += 1
      const length = random.int(2_000_000)
      const comparison = new Comparison(seed, length)
      const onData = (data) => comparison.add(data)
      const { status } = await exchange(target, { agent, path: `/stream/${seed}/${length}`, onData })
      expect(status === 200 && comparison.received === length, `${comparison.received} of ${length} bytes came: ${status}`)
    })
    agent.destroy()
  },
}
