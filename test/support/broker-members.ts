/** Servers of one group behind a broker, each with a client that subscribes. */
import { onTestFinished } from 'vitest'
import type { BackplaneEngine, Socket, WebSocketServer } from '../../src/index.js'
import { Client } from './client.js'
import { AVAILABLE_ENGINES, type EngineName, listen, makeServer } from './engines.js'
import { Queue, turns } from './waiting.js'

/** What happens between server and broker does not depend on the engine. */
export const ONE_ENGINE: EngineName = AVAILABLE_ENGINES[0] ?? 'portable'

export interface BrokerMember {
  readonly server: WebSocketServer
  readonly errors: Queue<Error>
  readonly client: Client
  readonly socket: Socket
}

/** Resolves when the client's subscription to `topic` holds, here and at the broker. */
export async function join(engine: EngineName, backplane: BackplaneEngine, topic = 't'): Promise<BrokerMember> {
  const opened = new Queue<Socket>()
  const errors = new Queue<Error>()
  const server = makeServer(engine, { server: { backplane, onError: (error) => errors.push(error) } })
  onTestFinished(() => server.close({ timeout: 100 }))
  server.ws('/*', { maxBackpressure: 2 ** 30, open: (socket) => opened.push(socket) })
  const served = await listen(server)
  const client = await Client.open(served)
  const socket = await opened.next('open')
  socket.subscribe(topic)
  return { server, errors, client, socket }
}

/**
 * The member gives up the topic and wants it again in the next turns, with new topics beside it, as the
 * broker replies late: over and over. Its engine has `linger: 0`.
 */
export async function waver({ socket }: BrokerMember, topic: string): Promise<void> {
  for (let n = 0; n < 50; n++) {
    socket.subscribe(`beside ${n}`)
    socket.unsubscribe(topic)
    await turns(2)
    socket.subscribe(topic)
    await turns(2)
  }
}

/** Publishes on `from` until `to` gets it: then the subscription of `to` has reached the broker. */
export async function connected(from: BrokerMember, to: BrokerMember, topic = 't'): Promise<void> {
  for (let n = 0; to.client.messages.size === 0; n++) {
    from.server.publish(topic, 'hello')
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (n === 2000) throw new Error('the subscription does not reach the broker')
  }
  // What was published before the last one, and may be on its way.
  from.server.publish(topic, 'ready')
  while ((await to.client.next('the last greeting')) !== 'ready');
  while (from.client.messages.size > 0) await from.client.next()
}
