/**
 * Handlers that throw or reject: which handler gets the error, what the client sees, and that no other client
 * is disturbed.
 */
import { expect, test } from 'vitest'
import type { Socket, WebSocketHandlers } from '../../src/index.js'
import { runFixture } from '../support/child.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { closeCode, closeFrame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const failure = new Error('the handler failed')
const fails: Record<string, () => void | Promise<void>> = {
  throws: () => {
    throw failure
  },
  rejects: async () => {
    await turns(1)
    throw failure
  },
}

/** Makes the client do what triggers an event. */
const trigger: Record<string, (client: Client, socket: Socket) => void> = {
  open: () => {},
  message: (client) => client.send('x'),
  ping: (client) => client.socket.ping(),
  pong: (client) => client.socket.pong(),
}

describeEngines('a handler that fails', (engine) => {
  for (const [kind, fail] of Object.entries(fails)) {
    for (const event of ['open', 'message', 'ping', 'pong'] as const) {
      test(`in ${event} (it ${kind}) reaches error, closes its socket with 1011, and disturbs no other`, async () => {
        const errors = new Queue<[unknown, Socket]>()
        const opened = new Queue<Socket>()
        const ended = new Deferred<[Socket, number]>()
        const handlers: WebSocketHandlers<undefined> = {
          open: (socket) => opened.push(socket),
          [event]: (socket: Socket) => {
            if (event === 'open') opened.push(socket)
            return fail()
          },
          error: (error, socket) => errors.push([error, socket]),
          close: (socket, code) => ended.resolve([socket, code]),
        }
        const served = await serve(engine, handlers, {
          path: '/failing',
          routes: (server) => server.ws('/witness', { message: (socket, message) => void socket.send(message) }),
        })
        const witness = await Client.open(served, '/witness')
        const client = await Client.open(served, '/failing')
        const socket = await opened.next('open')
        trigger[event]?.(client, socket)
        expect(await errors.next('error')).toEqual([failure, socket])
        expect((await client.closed()).code).toBe(1011)
        expect(await within(ended.promise, 'close')).toEqual([socket, 1011])
        expect(errors.size).toBe(0)
        expect(await witness.ask('undisturbed')).toBe('undisturbed')
      })
    }

    test(`in drain (it ${kind}) reaches error, and closes its socket with 1011`, async () => {
      const errors = new Queue<unknown>()
      const served = await serve(engine, {
        maxBackpressure: 1024 * 1024,
        open(socket) {
          while (socket.send('x'.repeat(10_000)) !== 0);
        },
        drain: fail,
        error: (error) => errors.push(error),
      })
      const client = await Client.open(served)
      expect(await errors.next('error')).toBe(failure)
      expect((await client.closed()).code).toBe(1011)
    })

    test(`in close (it ${kind}) reaches error, and harms nothing`, async () => {
      const errors = new Queue<[unknown, number]>()
      const served = await serve(engine, {
        message: (socket, message) => void socket.send(message),
        close: fail,
        error: (error, socket) => errors.push([error, socket.readyState]),
      })
      const client = await Client.open(served)
      client.socket.close(1000)
      expect(await errors.next('error')).toEqual([failure, 3])
      expect((await client.closed()).code).toBe(1000)
      expect(await (await Client.open(served)).ask('still serving')).toBe('still serving')
    })
  }

  test('hears no message after the one that it failed on', async () => {
    const seen: string[] = []
    const ended = new Deferred()
    const served = await serve(engine, {
      message(_, message) {
        seen.push(String(message))
        throw failure
      },
      error: () => {},
      close: () => ended.resolve(),
    })
    const client = await RawClient.open(served)
    client.write(text('one'), text('two'), text('three'))
    expect(closeCode(await client.frame())).toBe(1011)
    client.write(closeFrame(1011))
    await within(ended.promise, 'close')
    expect(seen).toEqual(['one'])
  })

  test('loses its own event, not those of others in the same batch', async () => {
    const served = await serve(engine, {
      message(socket, message) {
        if (message === 'fail') throw failure
        socket.send(message)
      },
      error: () => {},
    })
    const clients = await Client.openMany(served, 10)
    for (let n = 0; n < 100; n++) for (const client of clients) client.send(`${n}`)
    clients[3]?.send('fail')
    clients[7]?.send('fail')
    for (let n = 100; n < 200; n++) for (const client of clients) client.send(`${n}`)
    const all = Array.from({ length: 200 }, (_, n) => `${n}`)
    for (const [index, client] of clients.entries()) {
      if (index === 3 || index === 7) {
        expect((await client.closed()).code).toBe(1011)
        expect(await client.messages.take(client.messages.size, 'messages')).toEqual(all.slice(0, 100))
      } else {
        expect(await client.messages.take(200, 'messages')).toEqual(all)
      }
    }
  })

  test('gives the client what it had sent before it failed', async () => {
    const served = await serve(engine, {
      message(socket) {
        socket.send('before')
        throw failure
      },
      error: () => {},
    })
    const client = await Client.open(served)
    expect(await client.ask('x')).toBe('before')
    expect((await client.closed()).code).toBe(1011)
  })

  test('after it closed its own socket keeps its own code', async () => {
    const errors = new Queue<unknown>()
    const served = await serve(engine, {
      message(socket) {
        socket.close(4000, 'my way')
        throw failure
      },
      error: (error) => errors.push(error),
    })
    const client = await Client.open(served)
    client.send('x')
    expect(await client.closed()).toEqual({ code: 4000, reason: 'my way' })
    expect(await errors.next('error')).toBe(failure)
  })

  test('long after its socket has closed still reaches error', async () => {
    const gate = new Deferred()
    const ended = new Deferred()
    const errors = new Queue<[unknown, number]>()
    const served = await serve(engine, {
      async message() {
        await gate.promise
        throw failure
      },
      error: (error, socket) => errors.push([error, socket.readyState]),
      close: () => ended.resolve(),
    })
    const client = await Client.open(served)
    client.send('x')
    client.socket.close(1000)
    await within(ended.promise, 'close')
    gate.resolve()
    expect(await errors.next('error')).toEqual([failure, 3])
  })

  test('may reject with anything', async () => {
    const errors = new Queue<unknown>()
    const served = await serve(engine, {
      message: (_, message) => Promise.reject(message === 'nothing' ? undefined : message),
      error: (error) => errors.push(error),
    })
    const [first, second] = await Client.openMany(served, 2)
    first?.send('a string')
    expect(await errors.next('error')).toBe('a string')
    second?.send('nothing')
    expect(await errors.next('error')).toBeUndefined()
    expect((await second?.closed())?.code).toBe(1011)
  })
})

describeEngines('without an error handler', (engine) => {
  for (const [kind, fail] of Object.entries(fails)) {
    test(`one that ${kind} reaches the server’s onError`, async () => {
      const errors = new Queue<Error>()
      const served = await serve(engine, { message: fail }, { server: { onError: (error) => errors.push(error) } })
      const client = await Client.open(served)
      client.send('x')
      expect(await errors.next('onError')).toBe(failure)
      expect((await client.closed()).code).toBe(1011)
    })
  }

  test('what is no Error becomes one for onError, with what was thrown as its cause', async () => {
    const errors = new Queue<Error>()
    const served = await serve(
      engine,
      { message: () => Promise.reject('just text') },
      { server: { onError: (error) => errors.push(error) } },
    )
    const client = await Client.open(served)
    client.send('x')
    const error = await errors.next('onError')
    expect(error).toBeInstanceOf(Error)
    expect(error.cause).toBe('just text')
  })

  test('and without onError it is an uncaught exception, and the server goes on if the process does', async () => {
    const result = await runFixture('uncaught-by-default.mjs', { args: [engine, 'survive'] })
    expect(result).toMatchObject({ code: 0, signal: null, stderr: '' })
    const lines = result.stdout.split('\n').filter(Boolean)
    const streamed = lines.filter((line) => /stream|listener/.test(line))
    const handled = lines.filter((line) => !streamed.includes(line))
    expect(handled).toEqual(['uncaught: the handler failed', 'client closed with 1011', 'others: echo'])
    const failures = ['one', 'two', 'three'].map((text) => `uncaught: the listener failed with ${text}`)
    // The exceptions may come before or after the close.
    expect(streamed.sort()).toEqual(['stream closed with 1000', ...failures].sort())
  })

  test('and without any listener it ends the process, as Node does', async () => {
    const result = await runFixture('uncaught-by-default.mjs', { args: [engine, 'die'] })
    expect(result).toMatchObject({ code: 1, signal: null })
    expect(result.stderr).toContain('Error: the handler failed')
    expect(result.stderr).toContain('uncaught-by-default.mjs') // the stack leads to the handler
  })
})

describeEngines('an error handler that itself fails', (engine) => {
  test('reaches onError, and its socket is closed all the same', async () => {
    const worse = new Error('the error handler failed')
    const errors = new Queue<Error>()
    const served = await serve(
      engine,
      {
        message(socket, message) {
          if (message === 'fail') throw failure
          socket.send(message)
        },
        error() {
          throw worse
        },
      },
      { server: { onError: (error) => errors.push(error) } },
    )
    const [client, witness] = await Client.openMany(served, 2)
    client?.send('fail')
    expect(await errors.next('onError')).toBe(worse)
    expect((await client?.closed())?.code).toBe(1011)
    expect(await witness?.ask('undisturbed')).toBe('undisturbed')
  })

  test('may close the socket with a code of its own', async () => {
    const served = await serve(engine, {
      message: () => {
        throw failure
      },
      error: (_, socket) => socket.close(4002, 'handled'),
    })
    const client = await Client.open(served)
    client.send('x')
    expect(await client.closed()).toEqual({ code: 4002, reason: 'handled' })
  })

  test('may still tell the client', async () => {
    const served = await serve(engine, {
      message: () => {
        throw failure
      },
      error: (error, socket) => void socket.send(`sorry: ${(error as Error).message}`), // it is `failure`
    })
    const client = await RawClient.open(served)
    client.write(text('x'))
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.TEXT, payload: Buffer.from('sorry: the handler failed') })
    expect(closeCode(await client.frame())).toBe(1011)
  })
})
