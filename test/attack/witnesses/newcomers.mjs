// Those who come new: a connection for one request, and one for one message.
import { agentOf, exchange, expect, Peer } from '../peers.mjs'

export default {
  name: 'new connections',
  count: 6,
  async witness(witness) {
    const { target, random } = witness
    await witness.keep(async () => {
      if (random.chance(0.5)) {
        const agent = agentOf(target, false)
        const { status, body } = await witness.begin(() => exchange(target, { agent, path: '/health' }))
        expect(status === 200 && String(body) === '{"status":"healthy"}', `/health was answered with ${status}: ${body}`)
        agent.destroy()
        return
      }
      const peer = await witness.begin(() => Peer.open(target, random.pick(['/echo', '/later'])))
      const message = `hello ${random.next()}`
      peer.send(message)
      expect((await peer.next()) === message, 'the first message has come back as another')
      await peer.close()
    })
  },
}
