/** `threads()` inside, a real broker outside: what crosses to it, and what happens when its thread ends. */
import { connect } from '@nats-io/transport-node'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, type EngineName } from '../support/engines.js'

interface Watched {
  readonly url: string
  /** Payloads of the topic "t" that the broker has got, in the order in which they came. */
  readonly passed: Uint8Array[]
  /** How many connections have subscribed to the topic "t". */
  subscribers(): Promise<number>
}

const BROKERS = {
  'redis-server': async (): Promise<Watched> => {
    const broker = await Broker.start('redis-server')
    const [listener, admin] = [new Redis(broker.url), new Redis(broker.url)]
    onTestFinished(() => {
      for (const each of [listener, admin]) each.disconnect()
    })
    const passed: Uint8Array[] = []
    // A pattern, which NUMSUB does not count.
    await listener.psubscribe('nws:*')
    listener.on('pmessageBuffer', (_pattern: string, channel: Buffer, data: Buffer) => {
      if (String(channel) === 'nws:t') passed.push(data)
    })
    return { url: broker.url, passed, subscribers: async () => Number((await admin.pubsub('NUMSUB', 'nws:t'))[1]) }
  },
  'nats-server': async (): Promise<Watched> => {
    const monitor = await freePort()
    const broker = await Broker.start('nats-server', ['--http_port', `${monitor}`])
    const listener = await connect({ servers: broker.url })
    onTestFinished(() => listener.close())
    const passed: Uint8Array[] = []
    listener.subscribe('nws.c.tt', { callback: (_error, { data }) => void passed.push(data) })
    await listener.flush()
    const subscribers = async () => {
      const { connections } = (await (await fetch(`http://127.0.0.1:${monitor}/connz?subs=1`)).json()) as {
        connections: { subscriptions_list?: string[] }[]
      }
      const all = connections.flatMap(({ subscriptions_list: subjects = [] }) =>
        subjects.filter((subject) => subject === 'nws.c.tt'),
      )
      // Less the one of this test.
      return all.length - 1
    }
    return { url: broker.url, passed, subscribers }
  },
}

/** Workers in a child process, each with a client that has subscribed to "t" and publishes what it sends. */
async function start(engine: EngineName, count: number, url: string) {
  const child = new Child('threads.mjs', { args: [engine, `${count}`, url] })
  const clients: Client[] = []
  for (let index = 0; index < count; index++) clients.push(await Client.open(addressOf(Number(await child.line('a port')))))
  const order = async (line: string, reply: string) => {
    child.process.stdin?.write(`${line}\n`)
    expect(await child.line(reply)).toBe(reply)
  }
  return { clients, order }
}

async function until(condition: () => boolean | Promise<boolean>, act: () => void = () => {}): Promise<void> {
  while (!(await condition())) {
    act()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** What came last, when a first and a last word have come to all. */
async function flushed(from: Client, all: readonly Client[], word: string): Promise<void> {
  for (const client of all) {
    await until(
      () => client.messages.size > 0,
      () => from.send('hello'),
    )
  }
  from.send(word)
  for (const client of all) while ((await client.next(word)) !== word);
}

for (const program of ['redis-server', 'nats-server'] as const) {
  const missing = whyMissing(program)
  const name = `threads() inside, ${program} outside${missing === undefined ? '' : ` (skipped: ${missing})`}`
  describe.skipIf(missing !== undefined)(name, () => {
    describeEngines('', (engine) => {
      test('each message crosses to the broker once, and from it once to each process; its thread may end', async () => {
        const broker = await BROKERS[program]()
        const [here, there] = [await start(engine, 3, broker.url), await start(engine, 2, broker.url)]
        const [a, b, c] = here.clients as [Client, Client, Client]
        const [far, farther] = there.clients as [Client, Client]
        const others = [a, c, far, farther]
        await flushed(b, others, 'ready')
        await flushed(far, [a, b, c, farther], 'ready, too')
        // On a busy machine a second thread may have taken itself for the gateway for a moment.
        await until(async () => (await broker.subscribers()) === 2)
        await until(() => b.messages.size === 0 || b.next().then(() => false))

        // One in a turn: each is an envelope of its own.
        const before = broker.passed.length
        for (let n = 0; n < 50; n++) {
          b.send(`${n}`)
          for (const client of others) expect(await client.next()).toBe(`${n}`)
        }
        expect(broker.passed.length - before).toBe(50)

        // The oldest thread has the connection: it is closed, and then the next one is terminated.
        for (const [order, reply] of [
          ['close 0', 'closed'],
          ['1', 'terminated'],
        ] as const) {
          let sent = 0
          const timer = setInterval(() => c.send(`${reply} ${sent++}`), 5)
          onTestFinished(() => clearInterval(timer))
          const came: number[] = []
          const read = async () => {
            while (far.messages.size > 0) came.push(Number(String(await far.next()).split(' ')[1]))
            return came.at(-1) ?? -1
          }
          await until(async () => (await read()) > 20)
          await here.order(order, reply)
          expect(await (reply === 'closed' ? a : b).closed()).toBeDefined()
          const atEnd = sent
          await until(async () => (await read()) > atEnd)
          clearInterval(timer)
          const last = sent - 1
          await until(async () => (await read()) === last)
          // In order, none twice, and all: what is sent while no thread has the connection waits for the
          // next.
          expect(came).toEqual(Array.from({ length: last + 1 }, (_, n) => n))
          expect(await broker.subscribers()).toBe(2)
        }
      })
    })
  })
}
