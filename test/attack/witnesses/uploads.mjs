// Bodies of some hundred kilobytes, with their length or in chunks: the server gets every byte.
import { content, hashOf } from '../content.mjs'
import { agentOf, exchange, expect } from '../peers.mjs'

const PIECE = 50_000

export default {
  name: 'uploads',
  count: 4,
  async witness(witness) {
    const { target, random } = witness
    const agent = agentOf(target, true)
    let seed = 0
    await witness.keep(async () => {
      seed += 1
      const bytes = content(seed, random.int(500_000))
      const body = []
      for (let at = 0; at < bytes.length; at += PIECE) body.push(bytes.subarray(at, at + PIECE))
      const headers = random.chance(0.5) ? { 'content-length': bytes.length } : { 'transfer-encoding': 'chunked' }
      const answer = await exchange(target, { agent, method: 'PUT', path: '/upload', headers, body })
      expect(answer.status === 200, `an upload was answered with ${answer.status}`)
      const { length, hash } = JSON.parse(String(answer.body))
      expect(length === bytes.length && hash === hashOf(bytes), `${length} of ${bytes.length} bytes came, or wrong ones`)
    })
    agent.destroy()
  },
}
