// Messages that are compressed both ways, and come back as they were.
import { expect, Peer } from '../peers.mjs'

export default {
  name: 'compressed echo',
  count: 4,
  async witness(witness) {
    const { target, random } = witness
    const peer = await Peer.open(target, '/deflate', { perMessageDeflate: { threshold: 0 } })
    let sent = 0
    await witness.keep(async () => {
      sent += 1
      const message = `${sent} ${'squeezed '.repeat(random.int(5000))}`
      peer.send(message)
      expect((await peer.next()) === message, `message ${sent} has come back as another`)
    })
    await peer.close()
  },
}
