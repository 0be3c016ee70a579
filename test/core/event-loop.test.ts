/**
 * What Node's event loop promises, beside a server that waits for its clients and one that is kept busy by
 * them, in the main thread and in a worker.
 */
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { Child } from '../support/child.js'
import { Client } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName, serve } from '../support/engines.js'

const THINGS = [
  'a promise',
  'nextTick',
  'a microtask',
  'an immediate',
  'an immediate that is unreferenced',
  'a timer',
  'a timer that is unreferenced',
  'a timer behind a busy handler',
  'a file',
  'a connection of its own',
  'a child process',
  'a message of another thread',
] as const

/** A server in a process of its own, which has been idle: from then on everything is as it stays. */
async function start(engine: EngineName, place: 'main' | 'worker') {
  const child = new Child('event-loop.mjs', { args: [engine, place] })
  const address = addressOf(Number(await child.line('its port')))
  const client = await Client.open(address)
  await ask(client, 'a timer')
  return { child, address, client }
}

/** What the server answers when what it was asked for has happened. */
async function ask(client: Client, what: string): Promise<string> {
  client.send(what)
  return String(await client.next(`the answer to "${what}"`))
}

/** Clients that ask for nothing, each again as soon as it is answered, until the test ends. */
async function keepBusy(address: Address): Promise<void> {
  for (const client of await Client.openMany(address, 10)) {
    client.socket.on('message', () => client.socket.send('nothing'))
    client.socket.send('nothing')
  }
}

describeEngines('the event loop', (engine) => {
  for (const place of ['main', 'worker'] as const) {
    for (const state of ['idle', 'busy'] as const) {
      const things = place === 'main' ? [...THINGS, 'a signal'] : THINGS // signals are the main thread's
      test(`does everything beside ${state} connections (${place} thread)`, async () => {
        const { address, client } = await start(engine, place)
        if (state === 'busy') await keepBusy(address)
        for (const thing of things) expect(await ask(client, thing)).toBe(thing)
      })
    }

    test(`does not hold up what was begun in one handler while there are no others (${place} thread)`, async () => {
      const { client } = await start(engine, place)
      const things = place === 'main' ? [...THINGS, 'a signal'] : THINGS
      for (const thing of things) client.send(thing)
      const answers = new Set<string>()
      for (const _ of things) answers.add(String(await client.next(`all answers; there are ${[...answers]}`)))
      expect(answers).toEqual(new Set(things))
    })

    test(`is told to be idle while it waits, and to be used while a handler works (${place} thread)`, async () => {
      const { client } = await start(engine, place)
      const asked = place === 'main' ? ['utilization'] : ['utilization', 'main utilization']
      for (const utilization of asked) {
        await ask(client, utilization)
        for (let i = 0; i < 20; i++) await ask(client, 'a timer')
        expect(Number(await ask(client, utilization)), `${utilization}, idle`).toBeLessThan(0.5)
        await ask(client, 'work for 200 ms')
        expect(Number(await ask(client, utilization)), `${utilization}, busy`).toBeGreaterThan(0.5)
      }
    })

    test(`ends when the server is closed (${place} thread)`, async () => {
      const { child, client } = await start(engine, place)
      client.send('end')
      expect(await child.result()).toMatchObject({ code: 0, signal: null, stderr: '' })
    })
  }
})

describeEngines('a timer of a message handler', (engine) => {
  test('is early no more often than Node makes it', async () => {
    const late: number[] = []
    const served = await serve(engine, {
      message(socket) {
        const begin = performance.now()
        setTimeout(() => {
          late.push(performance.now() - begin - 20)
          socket.send('now')
        }, 20)
      },
    })
    const client = await Client.open(served)
    for (let i = 0; i < 25; i++) await client.ask('set it')
    // Node counts from the beginning of a millisecond, so that a few are early by a part of one.
    late.sort((a, b) => a - b)
    expect(late[12]).toBeGreaterThanOrEqual(0)
  })
})

describeEngines('two copies of the package in one process', (engine) => {
  test('each serve their clients', async () => {
    const root = fileURLToPath(new URL('../..', import.meta.url))
    const copy = mkdtempSync(join(tmpdir(), 'copy-'))
    onTestFinished(() => rmSync(copy, { recursive: true }))
    const addon = 'build/Release/native_websocket_server.node'
    mkdirSync(dirname(join(copy, addon)), { recursive: true })
    for (const file of ['package.json', ...(engine === 'native' ? [addon] : [])]) copyFileSync(join(root, file), join(copy, file))
    cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    const child = new Child('two-copies.mjs', { args: [engine, join(root, 'dist/index.js'), join(copy, 'dist/index.js')] })
    const first = await Client.open(addressOf(Number(await child.line('the first port'))))
    expect(await first.ask('one')).toBe('one')
    // The second one comes when the first has waited alone.
    first.send('begin')
    const second = await Client.open(addressOf(Number(await child.line('the second port'))))
    for (let i = 0; i < 20; i++) {
      expect(await second.ask(`second ${i}`)).toBe(`second ${i}`)
      expect(await first.ask(`first ${i}`)).toBe(`first ${i}`)
    }
  })
})

describeEngines('the loop of libuv', (engine) => {
  const isOwn = engine === 'native' && process.platform === 'linux'
  for (const place of ['main', 'worker'] as const) {
    test.runIf(isOwn)(
      `rests while sockets alone have something to say (${place} thread; only native, on Linux, waits for them without libuv)`,
      async ({ skip }) => {
        const { client } = await start(engine, place)
        if ((await ask(client, 'iterations')) === 'unknown') skip('this Node.js does not count iterations')
        // Where libuv waits, each message is an iteration. V8 may need some for itself at times.
        const counts: number[] = []
        while (counts.length < 20 && !counts.some((count) => count < 100)) {
          const before = Number(await ask(client, 'iterations'))
          for (let i = 0; i < 200; i++) await ask(client, 'nothing')
          counts.push(Number(await ask(client, 'iterations')) - before)
        }
        expect(Math.min(...counts), String(counts)).toBeLessThan(100)
      },
    )
  }
})
