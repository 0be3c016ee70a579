/** A server with one place, and clients whose upgrade is under way and takes the place. */
import type { Accept, ServerOptions } from '../../src/index.js'
import { refusal } from './client.js'
import { type EngineName, type Served, serve } from './engines.js'
import { handshake, RawClient } from './raw-client.js'
import { Deferred, Queue } from './waiting.js'

type Gate = Deferred<Accept<undefined> | Response>

interface Undecided {
  readonly client: RawClient
  /** What the handler returns. */
  readonly gate: Gate
  readonly signal: AbortSignal
}

/** `limit` lets in one client. `wait` gives a client that is undecided, and has seen another one refused. */
export async function serveUndecided(
  engine: EngineName,
  limit: Pick<ServerOptions, 'maxConnections' | 'maxConnectionsPerAddress'>,
): Promise<{ served: Served; wait: () => Promise<Undecided> }> {
  const waiting = new Queue<{ gate: Gate; signal: AbortSignal }>()
  const served = await serve<undefined>(
    engine,
    {
      upgrade({ signal }) {
        const gate: Gate = new Deferred()
        waiting.push({ gate, signal })
        return gate.promise
      },
    },
    { server: { ...limit, onError: () => {} } },
  )
  const wait = async () => {
    const client = await RawClient.connect(served)
    client.write(handshake())
    const { gate, signal } = await waiting.next('the upgrade')
    if ((await refusal(served, '/')) !== 503) throw new Error('another client was let in')
    return { client, gate, signal }
  }
  return { served, wait }
}
