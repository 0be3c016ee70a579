// Messages of all lengths, text and binary, some of them under way at once: each comes back as it was, in
// order.
import { Buffer } from 'node:buffer'
import { content } from '../content.mjs'
import { expect, Peer } from '../peers.mjs'

export default {
  name: 'echo (ws, wss)',
  count: 8,
  async witness(witness) {
    const { target, random } = witness
    const peer = await Peer.open(target, '/echo')
    let sent = 0
    const make = () => {
      sent += 1
      const length = random.chance(0.9) ? random.int(1000) : random.int(100_000)
      const bytes = content(sent, length)
      return random.chance(0.5) ? bytes : bytes.toString('base64')
    }
    await witness.keep(async () => {
      const messages = Array.from({ length: 1 + random.int(3) }, make)
      for (const message of messages) peer.send(message)
      for (const message of messages) {
        const echo = await peer.next()
        const isSame = typeof message === 'string' ? echo === message : Buffer.isBuffer(echo) && echo.equals(message)
        expect(isSame, `an echo of ${message.length} is not what was sent: ${echo.length}`)
      }
    })
    await peer.close()
  },
}
