// Handshakes of TLS: whole ones without end, and such as stop at their first message, or are none.
import { Buffer } from 'node:buffer'
import { connect } from 'node:tls'
import { http, secure } from '../limits.mjs'

/** A ClientHello that announces more than it has. */
const hello = Buffer.from('1603010200010001fc0303', 'hex')

export default {
  name: 'TLS handshakes',
  connections: 10,
  memory: secure(http()),
  async attack(attempt) {
    const { random, target } = attempt
    const dice = random.next()
    if (dice < 0.6) {
      // No session is resumed: the whole handshake is the server's to pay.
      await attempt.connect({ secure: true, minVersion: random.pick(['TLSv1.2', 'TLSv1.3']) })
      return
    }
    const connection = await attempt.connect({ port: target.securePort })
    if (connection === undefined) return
    if (dice < 0.8) {
      await connection.write(random.chance(0.5) ? hello : random.bytes(500))
      await Promise.race([connection.closed(), attempt.wait(random.int(3000))])
    } else {
      // Cut after the server has answered the ClientHello, and paid for it.
      const client = connect({ socket: connection.socket, rejectUnauthorized: false })
      client.on('error', () => {})
      await new Promise((resolve) => {
        connection.socket.once('data', resolve)
        void connection.closed().then(resolve)
        void attempt.wait(3000).then(resolve)
      })
      connection.reset()
    }
  },
}
