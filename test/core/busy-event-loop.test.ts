/**
 * What Node's event loop promises beside a server that its clients keep busy all the time: everything comes,
 * in Node's order, and not behind more messages than a few turns can bring. Messages are counted, not
 * milliseconds.
 */
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { within } from '../support/waiting.js'

const CLIENTS = 10
/** Messages of each client that the server has not answered yet, at any moment. */
const WINDOW = 4
/** No turn brings more: it reads each connection once, and a client sends the next when it is answered. */
const TURN = CLIENTS * WINDOW

/** Turns in which each must come; the turn of the handler that asks for it is the first. */
const TURNS = {
  'a promise': 1,
  nextTick: 1,
  'a microtask': 1,
  'an immediate': 3,
  'ten immediates, each set by the one before': 30,
  'a timer that is due': 3,
  'an interval that is due': 3,
  'a signal': 4,
  'a message of a MessagePort': 3,
  'a message of another thread': 4,
  // Three datagrams' ways: to c-ares' socket, to the name server, and back.
  'a name of a DNS server': 12,
}
/** What another thread or process works at, as long as that takes: it must only come while messages flow. */
const ELSEWHERE = ['a name of the system', 'a file', 'a child process', 'the end of a worker']
const MESSAGES_MEANWHILE = 100_000

async function start(engine: EngineName, place: 'main' | 'worker') {
  const child = new Child('busy-event-loop.mjs', { args: [engine, place] })
  const address = addressOf(Number(await child.line('its port')))
  const client = await Client.open(address)
  return { address, client }
}

/** What the server answers when what it was asked for has happened. */
async function ask(client: Client, what: string): Promise<string> {
  client.send(what)
  return String(await client.next(`the answer to "${what}"`))
}

/** Clients that each have a few messages on their way, until what this returns is called. */
async function keepBusy(address: Address): Promise<() => Promise<void>> {
  const clients = await Client.openMany(address, CLIENTS)
  let isBusy = true
  const answered = clients.map(
    (client) =>
      new Promise<void>((resolve) => {
        let waiting = WINDOW
        client.socket.on('message', () => {
          if (isBusy) client.socket.send('nothing')
          else if (--waiting === 0) resolve()
        })
      }),
  )
  for (const client of clients) for (let i = 0; i < WINDOW; i++) client.socket.send('nothing')
  return async () => {
    isBusy = false
    await Promise.all(answered)
  }
}

/** How much of the time since the last call the loop has been idle, and how many messages it has handled. */
async function utilization(client: Client): Promise<{ utilization: number; idleShare: number; handled: number }> {
  return JSON.parse(await ask(client, 'utilization'))
}

/** A debugger at a process that was started with --inspect (the Chrome DevTools Protocol). */
class Debugger {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, (result: unknown) => void>()
  readonly #events = new Map<string, () => void>()
  #last = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data) => {
      const { id, method, result } = JSON.parse(String(data))
      if (id === undefined) this.#events.get(method)?.()
      else this.#waiting.get(id)?.(result)
    })
  }

  static async attach(child: Child): Promise<Debugger> {
    const url = await within(
      new Promise<string>((resolve) => {
        let text = ''
        child.process.stderr?.on('data', (chunk) => {
          text += chunk
          const found = /ws:\/\/\S+/.exec(text)
          if (found) resolve(found[0])
        })
      }),
      'the address of the inspector',
    )
    const socket = new WebSocket(url)
    onTestFinished(() => socket.terminate())
    await within(new Promise((resolve) => socket.once('open', resolve)), 'the inspector')
    return new Debugger(socket)
  }

  call(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#last
    const result = new Promise((resolve) => this.#waiting.set(id, resolve))
    this.#socket.send(JSON.stringify({ id, method, params }))
    return within(result, `the inspector's answer to ${method}`)
  }

  event(method: string): Promise<void> {
    return within(new Promise((resolve) => this.#events.set(method, resolve)), `the inspector's event ${method}`)
  }
}

describeEngines('beside connections that are busy all the time', (engine) => {
  for (const place of ['main', 'worker'] as const) {
    const isMain = place === 'main' // signals are the main thread's

    test(`all that a handler sets off comes within a few turns (${place} thread)`, async () => {
      const { address, client } = await start(engine, place)
      await keepBusy(address)
      for (const [thing, turns] of Object.entries(TURNS)) {
        if (thing === 'a signal' && !isMain) continue
        for (let i = 0; i < 5; i++) {
          const handled = await ask(client, thing)
          expect(Number(handled), `messages before ${thing}: ${handled}`).toBeLessThanOrEqual(turns * TURN)
        }
      }
      const { handled } = await utilization(client)
      expect(handled).toBeGreaterThan(1000)
    })

    test(`what other threads and processes work at comes while messages flow (${place} thread)`, async () => {
      const { address, client } = await start(engine, place)
      await keepBusy(address)
      for (const thing of ELSEWHERE) {
        const handled = await ask(client, thing)
        expect(Number(handled), `messages before ${thing}: ${handled}`).toBeLessThan(MESSAGES_MEANWHILE)
      }
    })

    test(`callbacks come in Node's order (${place} thread)`, async () => {
      const { address, client } = await start(engine, place)
      await keepBusy(address)
      for (let i = 0; i < 10; i++) {
        expect(await ask(client, 'the order')).toBe(
          [
            'handler, nextTick, promise',
            'first immediate, nextTick of it, promise of it, second immediate, immediate of an immediate',
            'first timer, nextTick of the timer, second timer',
          ].join(', '),
        )
      }
    })

    test(`the loop is told to be used, and more of it to be idle when they rest (${place} thread)`, async () => {
      const { address, client } = await start(engine, place)
      const rest = await keepBusy(address)
      await utilization(client)
      for (let i = 0; i < 5; i++) await ask(client, 'a timer that is due')
      const busy = await utilization(client)
      expect(busy.utilization).toBeGreaterThan(0)
      expect(busy.utilization).toBeLessThanOrEqual(1)
      await rest()
      const { handled } = await utilization(client)
      for (let i = 0; i < 5; i++) await ask(client, 'a timer that is due')
      const idle = await utilization(client)
      expect(idle.handled, 'messages of clients that rest').toBe(handled)
      expect(idle.utilization).toBeGreaterThan(0)
      expect(idle.idleShare).toBeGreaterThan(busy.idleShare)
    })
  }
})

describeEngines('the inspector', (engine) => {
  for (const state of ['idle', 'busy'] as const) {
    test(`evaluates and pauses beside ${state} connections`, async () => {
      const child = new Child('busy-event-loop.mjs', { args: [engine, 'main'], execArgv: ['--inspect=127.0.0.1:0'] })
      const [inspector, port] = await Promise.all([Debugger.attach(child), child.line('its port')])
      const address = addressOf(Number(port))
      const client = await Client.open(address)
      await ask(client, 'a timer that is due')
      if (state === 'busy') await keepBusy(address)
      for (let i = 0; i < 5; i++) {
        expect(await inspector.call('Runtime.evaluate', { expression: `${i} + 1` })).toMatchObject({ result: { value: i + 1 } })
      }
      // A timer that is set from outside of any handler, while the thread waits.
      const expression = 'new Promise((resolve) => setTimeout(resolve, 20, "later"))'
      expect(await inspector.call('Runtime.evaluate', { expression, awaitPromise: true })).toMatchObject({
        result: { value: 'later' },
      })
      await inspector.call('Debugger.enable')
      const paused = inspector.event('Debugger.paused')
      await inspector.call('Debugger.pause')
      client.send('nothing') // pauses where JavaScript runs next
      await paused
      const resumed = inspector.event('Debugger.resumed')
      await inspector.call('Debugger.resume')
      await resumed
      expect(await client.next('the answer after the pause')).toBe('nothing')
      expect(await ask(client, 'an immediate')).toMatch(/^\d+$/)
    })
  }
})
