// Subscribers of a topic whose messages are numbered: none is missing, doubled, or changed.
import { content } from '../content.mjs'
import { expect, Peer } from '../peers.mjs'

export default {
  name: 'subscribers',
  count: 6,
  async witness(witness) {
    const peer = await Peer.open(witness.target, '/topics/ticks')
    let last = 0
    // What is measured is the time until the next one.
    while (witness.goesOn) {
      await witness.measure(async () => {
        const message = await peer.next()
        const tick = Number.parseInt(message, 10)
        expect(last === 0 || tick === last + 1, `message ${tick} has come after ${last}`)
        expect(message === `${tick} ${content(tick, 100).toString('base64')}`, `message ${tick} was changed`)
        last = tick
      })
    }
    await peer.close()
  },
}
