/**
 * The `upgrade` handler: accepting and refusing, at once and later, and everything that may happen in
 * between.
 */
import { expect, test } from 'vitest'
import type { Accept, Socket, UpgradeRequest, WebSocketHandlers } from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, type Served, serve } from '../support/engines.js'
import { binary, closeFrame, handshake, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

/** An upgrade handler whose answers are given by hand. */
function gatekeeper() {
  const requests = new Queue<UpgradeRequest>()
  const gates: Deferred<Accept<unknown> | Response>[] = []
  return {
    requests,
    upgrade(request: UpgradeRequest) {
      const gate = new Deferred<Accept<unknown> | Response>()
      gates.push(gate)
      requests.push(request)
      return gate.promise
    },
    /** Answers the oldest request that was not answered. */
    answer: (answer: Accept<unknown> | Response) => gates.shift()?.resolve(answer),
    fail: (error: unknown) => gates.shift()?.reject(error),
  }
}

/** A server whose errors are collected. */
async function serveWithErrors<T>(
  engine: 'native' | 'portable',
  handlers: WebSocketHandlers<T>,
): Promise<Served & { errors: Queue<Error> }> {
  const errors = new Queue<Error>()
  const served = await serve<T>(engine, handlers, { server: { onError: (error) => errors.push(error) } })
  return { ...served, errors }
}

/** The answer to a handshake, whatever it is. */
async function knock(served: Served, request: Parameters<typeof handshake>[0] = {}) {
  const client = await RawClient.connect(served)
  client.write(handshake(request))
  return client.response()
}

const later = async <T>(answer: T): Promise<T> => {
  await turns(2)
  return answer
}

describeEngines('an upgrade handler', (engine) => {
  for (const [when, give] of [
    ['at once', <T>(answer: T) => answer],
    ['later', later],
  ] as const) {
    test(`accepts ${when}, with data for the socket`, async () => {
      const seen = new Queue<unknown>()
      const served = await serve<{ user: string }>(engine, {
        upgrade: () => give({ data: { user: 'Ada' } }),
        open: (socket) => seen.push(socket.data),
        message: (socket, message) => void socket.send(`${socket.data.user}: ${message}`),
      })
      const client = await Client.open(served)
      expect(await client.ask('hello')).toBe('Ada: hello')
      expect(await seen.next('open')).toEqual({ user: 'Ada' })
    })

    test(`chooses ${when} one of the subprotocols that are offered`, async () => {
      const protocols = new Queue<string>()
      const served = await serve<undefined>(engine, {
        upgrade: ({ protocols }) => give({ data: undefined, protocol: protocols[1] }),
        open: (socket) => protocols.push(socket.protocol),
      })
      const client = await RawClient.connect(served)
      client.write(handshake({ headers: ['Sec-WebSocket-Protocol: chat.v1, chat.v2', 'Sec-WebSocket-Protocol: chat.v3'] }))
      expect((await client.response()).fields.get('sec-websocket-protocol')).toEqual(['chat.v2'])
      expect(await protocols.next('open')).toBe('chat.v2')
    })

    test(`refuses ${when} with any Response`, async () => {
      let opened = 0
      const served = await serve(engine, {
        upgrade: () =>
          give(
            new Response('who are you?', {
              status: 401,
              statusText: 'Say Who',
              headers: [
                ['www-authenticate', 'Basic'],
                ['set-cookie', 'a=1'],
                ['set-cookie', 'b=2'],
              ],
            }),
          ),
        open: () => void opened++,
      })
      const answer = await knock(served)
      expect([answer.status, answer.statusText, answer.body.toString()]).toEqual([401, 'Say Who', 'who are you?'])
      expect(answer.header('www-authenticate')).toBe('Basic')
      expect(answer.fields.get('set-cookie')).toEqual(['a=1', 'b=2'])
      expect(answer.header('upgrade')).toBeUndefined()
      expect(opened).toBe(0)
      expect(served.server.metrics()).toMatchObject({ upgradesRefused: 1, upgradesRefusedByHandler: 1 })
    })

    test(`that fails ${when} gives the client 500 and the error to onError, and disturbs no other client`, async () => {
      const served = await serveWithErrors(engine, {
        upgrade({ path }) {
          if (path !== '/fails') return give({ data: undefined })
          const error = new Error('the database is away')
          if (when === 'at once') throw error
          return later(undefined).then(() => Promise.reject(error))
        },
        message: (socket: Socket, message) => void socket.send(message),
      })
      const witness = await Client.open(served)
      expect(await refusal(served, '/fails')).toBe(500)
      expect((await served.errors.next('the error')).message).toBe('the database is away')
      expect(await witness.ask('undisturbed')).toBe('undisturbed')
      expect(served.server.metrics()).toMatchObject({ upgradesRefusedByHandler: 1, handlerErrors: 1 })
    })

    test(`gets the frames that came too early, when it accepts ${when}`, async () => {
      const served = await serve<undefined>(engine, {
        upgrade: () => give({ data: undefined }),
        message: (socket, message) => void socket.send(message),
      })
      const client = await RawClient.connect(served)
      client.write(handshake(), text('early'), binary(Buffer.alloc(40_000, 1)), text('bird'))
      expect((await client.response()).status).toBe(101)
      expect((await client.frame()).payload.toString()).toBe('early')
      expect((await client.frame()).payload.equals(Buffer.alloc(40_000, 1))).toBe(true)
      expect((await client.frame()).payload.toString()).toBe('bird')
      client.write(text('later'))
      expect((await client.frame()).payload.toString()).toBe('later')
    })
  }

  for (const tls of [false, true]) {
    test(`that takes its time loses no frame that comes meanwhile (${tls ? 'TLS' : 'plain'})`, async () => {
      const { upgrade, answer, requests } = gatekeeper()
      const messages = new Queue<unknown>()
      const served = await serve<unknown>(
        engine,
        { upgrade, message: (_, message) => messages.push(message) },
        tls ? { server: { tls: true } } : {},
      )
      const client = await RawClient.connect(served)
      client.write(handshake(), text('one'))
      await requests.next('the request')
      const half = text('two')
      for (const part of [half.subarray(0, 3), half.subarray(3), text('three')]) {
        client.write(part)
        await client.flushed()
        await turns()
      }
      expect(messages.size).toBe(0)
      answer({ data: 1 })
      expect((await client.response()).status).toBe(101)
      client.write(text('four'))
      expect(await messages.take(4, 'messages')).toEqual(['one', 'two', 'three', 'four'])
    })
  }

  test('reads no more than it keeps of a client that sends before it is accepted, and then all of it', async () => {
    const { upgrade, answer, requests } = gatekeeper()
    const messages = new Queue<string | Buffer>()
    const served = await serve<unknown>(engine, { upgrade, message: (_socket, message) => messages.push(message) })
    const client = await RawClient.connect(served)
    client.write(handshake())
    await requests.next('the request')
    const sent = Array.from({ length: 100 }, (_, n) => Buffer.alloc(70_000, n))
    client.write(...sent.map((bytes) => binary(bytes)))
    await turns()
    answer({ data: undefined })
    for (const bytes of sent) expect(bytes.equals(Buffer.from(await messages.next('a message that was early')))).toBe(true)
  })

  for (const [when, give] of [
    ['at once', <T>(answer: T) => answer],
    ['later', later],
  ] as const) {
    test(`that refuses ${when} has its answer arrive whole, whatever the client sends meanwhile`, async () => {
      const body = 'no '.repeat(10_000)
      const served = await serve(engine, { upgrade: () => give(new Response(body, { status: 403 })) })
      const client = await RawClient.connect(served)
      client.write(handshake(), binary(Buffer.alloc(60_000)))
      const answer = await client.response()
      client.write(binary(Buffer.alloc(60_000)))
      expect([answer.status, answer.body.toString()]).toEqual([403, body])
    })
  }

  test('may leave the subprotocol open, although one is offered', async () => {
    const served = await serve<undefined>(engine, {
      upgrade: () => ({ data: undefined }),
      open: (socket) => void socket.send(`<${socket.protocol}>`),
    })
    const client = await RawClient.connect(served)
    client.write(handshake({ headers: ['Sec-WebSocket-Protocol: chat'] }))
    expect((await client.response()).header('sec-websocket-protocol')).toBeUndefined()
    expect((await client.frame()).payload.toString()).toBe('<>')
  })

  test('adds headers to the answer', async () => {
    const headers = [
      { 'X-One': '1', 'Set-Cookie': ['a=1; HttpOnly', 'b=2'] },
      new Headers([
        ['x-one', '1'],
        ['set-cookie', 'a=1; HttpOnly'],
        ['set-cookie', 'b=2'],
      ]),
      [
        ['x-one', '1'],
        ['set-cookie', 'a=1; HttpOnly'],
        ['set-cookie', 'b=2'],
      ] as const,
    ]
    for (const given of headers) {
      const served = await serve<undefined>(engine, { upgrade: () => ({ data: undefined, headers: given }) })
      const answer = await knock(served)
      expect(answer.status).toBe(101)
      expect(answer.header('x-one')).toBe('1')
      expect(answer.fields.get('set-cookie')).toEqual(['a=1; HttpOnly', 'b=2'])
    }
  })

  test('sees the request: a copy that stays valid while it waits', async () => {
    const { upgrade, answer, requests } = gatekeeper()
    const served = await serve<unknown>(engine, { upgrade }, { path: '/rooms/:room/:user' })
    const client = await RawClient.connect(served)
    const protocols = 'Sec-WebSocket-Protocol: a,, b.c ,'
    client.write(
      handshake({ path: '/rooms/a%20b/caf%C3%A9?since=3', headers: ['Origin: https://Example.com', protocols, 'X-Key: 7'] }),
    )
    const request = await requests.next('the request')
    // Other requests come and go through the same memory.
    for (let n = 0; n < 5; n++) await refusal(served, `/elsewhere/${'x'.repeat(200)}`)
    expect(request).toMatchObject({
      method: 'GET',
      path: '/rooms/a%20b/caf%C3%A9',
      params: { room: 'a b', user: 'café' },
      origin: 'https://Example.com',
      protocols: ['a', 'b.c'],
      remoteAddress: '127.0.0.1',
    })
    expect(request.url).toBe('http://localhost/rooms/a%20b/caf%C3%A9?since=3')
    expect(request.query.get('since')).toBe('3')
    expect(request.headers.get('x-key')).toBe('7')
    expect(request.signal.aborted).toBe(false)
    answer({ data: undefined })
    expect((await client.response()).status).toBe(101)
  })

  test('sees neither an origin nor protocols where there are none', async () => {
    const { upgrade, answer, requests } = gatekeeper()
    const served = await serve<unknown>(engine, { upgrade })
    const client = await RawClient.connect(served)
    client.write(handshake())
    const { origin, protocols } = await requests.next('the request')
    expect([origin, protocols]).toEqual([undefined, []])
    answer(new Response(null, { status: 403 }))
    expect((await client.response()).status).toBe(403)
  })

  for (const leave of ['vanish', 'reset', 'end'] as const) {
    test(`whose client leaves meanwhile (${leave}) hears it from the signal, and nothing else happens`, async () => {
      const { upgrade, answer, fail, requests } = gatekeeper()
      const seen: string[] = []
      const served = await serveWithErrors<unknown>(engine, {
        upgrade,
        open: () => void seen.push('open'),
        close: () => void seen.push('close'),
      })
      const cancelled = new Deferred()
      const body = new ReadableStream({ cancel: () => cancelled.resolve() })
      for (const finish of [
        () => answer({ data: 1 }),
        () => answer({ data: 1, protocol: 'never offered' }),
        () => answer(new Response(body)),
        (signal: AbortSignal) => fail(signal.reason),
      ]) {
        const client = await RawClient.connect(served)
        client.write(handshake(), text('early'))
        const { signal } = await requests.next('the request')
        const aborted = new Deferred()
        signal.addEventListener('abort', () => aborted.resolve())
        client[leave]()
        await within(aborted.promise, 'the signal')
        finish(signal)
        await turns()
      }
      await within(cancelled.promise, 'the body of a Response whose client has gone to be cancelled')
      expect(seen).toEqual([])
      expect(served.errors.size).toBe(0)
      expect(served.server.connections).toBe(0)
      expect(served.server.metrics()).toMatchObject({ connectionsAccepted: 0, handlerErrors: 0 })
    })
  }

  for (const tls of [false, true]) {
    for (const [leave, length] of [
      ['end', 60_000],
      ['vanish', 60_000],
      ['reset', 60_000],
      ['reset', 500_000],
    ] as const) {
      test(`whose client sends ${length} bytes and leaves (${leave}, ${tls ? 'TLS' : 'plain'}) hears it from the signal`, async () => {
        const { upgrade, answer, requests } = gatekeeper()
        const seen: string[] = []
        const served = await serve<unknown>(
          engine,
          { upgrade, open: () => void seen.push('open'), message: () => void seen.push('message') },
          tls ? { server: { tls: true } } : {},
        )
        const client = await RawClient.connect(served)
        client.write(handshake())
        const { signal } = await requests.next('the request')
        const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
        client.write(binary(Buffer.alloc(length)))
        await client.flushed()
        await turns()
        expect(signal.aborted).toBe(false)
        client[leave]()
        await within(aborted, 'the signal')
        answer({ data: 1 })
        await turns()
        expect(seen).toEqual([])
        expect(served.server.connections).toBe(0)
      })
    }
  }

  test('of many clients at once answers each with its own', async () => {
    const served = await serve<string>(
      engine,
      {
        async upgrade({ params }) {
          const room = params.room ?? ''
          await turns(Number(room) % 7)
          return Number(room) % 5 === 0 ? new Response(room, { status: 403 }) : { data: room }
        },
        open: (socket) => void socket.send(socket.data),
      },
      { path: '/:room' },
    )
    const rooms = Array.from({ length: 60 }, (_, n) => String(n))
    const answers = await Promise.all(
      rooms.map(async (room) => {
        const client = await RawClient.connect(served)
        client.write(handshake({ path: `/${room}` }))
        const answer = await client.response()
        return answer.status === 101 ? (await client.frame()).payload.toString() : answer.body.toString()
      }),
    )
    expect(answers).toEqual(rooms)
  })

  test('may answer with a body that is a stream', async () => {
    const served = await serve(engine, {
      upgrade: () =>
        new Response(
          new ReadableStream({
            async start(controller) {
              for (const part of ['not ', 'you']) {
                await turns(1)
                controller.enqueue(new TextEncoder().encode(part))
              }
              controller.close()
            },
          }),
          { status: 403 },
        ),
    })
    const answer = await knock(served)
    expect([answer.status, answer.body.toString()]).toEqual([403, 'not you'])
  })

  test('whose refusal is a stream that fails cuts the connection, and reports it once', async () => {
    const served = await serveWithErrors(engine, {
      upgrade: () =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              controller.enqueue(new TextEncoder().encode('some of it'))
              await turns(2)
              controller.error(new Error('the rest is lost'))
            },
          }),
          { status: 403 },
        ),
    })
    const client = await RawClient.connect(served)
    client.write(handshake())
    await client.closed()
    expect((await served.errors.next('the error')).message).toBe('the rest is lost')
    await turns()
    expect(served.errors.size).toBe(0)
    expect(served.server.metrics()).toMatchObject({ upgradesRefused: 1, upgradesRefusedByHandler: 1, handlerErrors: 1 })
  })

  test('whose refusal never ends stops when the client leaves, and does not keep the server from closing', async () => {
    const cancelled = new Queue<undefined>()
    const chunk = new Uint8Array(10_000)
    const served = await serveWithErrors(engine, {
      upgrade: () =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              await turns(1)
              controller.enqueue(chunk)
            },
            cancel: () => cancelled.push(undefined),
          }),
          { status: 403 },
        ),
    })
    const [leaves, stays] = [await RawClient.connect(served), await RawClient.connect(served)]
    for (const client of [leaves, stays]) client.write(handshake())
    await new Promise((resolve) => leaves.socket.once('data', resolve))
    leaves.vanish()
    await cancelled.next('the first body to be cancelled')
    await within(served.server.close({ timeout: 100 }), 'close')
    await cancelled.next('the second body to be cancelled')
    await stays.closed()
    expect(served.errors.size).toBe(0)
  })

  test('finds no body, and may ask for it like any handler', async () => {
    const served = await serve<string>(engine, {
      upgrade: async (request) => ({ data: `${request.body} <${await request.text()}>` }),
      open: (socket) => void socket.send(socket.data),
    })
    expect(await (await Client.open(served)).next()).toBe('null <>')
  })

  test('may answer with the Response of another implementation', async () => {
    /** What a polyfill's looks like: its own class, the same members. */
    class OtherResponse {
      status = 418
      statusText = ''
      headers = new Headers({ 'x-tea': 'yes' })
      ok = false
      #bytes = new TextEncoder().encode('a teapot')
      body = new Response(this.#bytes).body
      data = 'even one with such a member'
      async arrayBuffer() {
        return this.#bytes.buffer
      }
    }
    const served = await serve(engine, { upgrade: () => new OtherResponse() as unknown as Response })
    const answer = await knock(served)
    expect([answer.status, answer.header('x-tea'), answer.body.toString()]).toEqual([418, 'yes', 'a teapot'])
  })

  test('may return promises of any make', async () => {
    // biome-ignore lint/suspicious/noThenProperty: a promise of some library
    const thenable = { then: (resolve: (answer: Accept<number>) => void) => setImmediate(() => resolve({ data: 7 })) }
    const served = await serve<number>(engine, {
      upgrade: () => thenable as unknown as Promise<Accept<number>>,
      open: (socket) => void socket.send(String(socket.data)),
    })
    expect(await (await Client.open(served)).next()).toBe('7')
  })

  test('is a method of its handlers', async () => {
    class Chat {
      greeting = 'hello'
      upgrade() {
        return { data: this.greeting }
      }
      open(socket: Socket<string>) {
        socket.send(socket.data)
      }
    }
    expect(await (await Client.open(await serve<string>(engine, new Chat()))).next()).toBe('hello')
  })

  test('is not asked about handshakes that cannot be completed', async () => {
    let asked = 0
    const served = await serve<undefined>(
      engine,
      {
        upgrade() {
          asked++
          return { data: undefined }
        },
      },
      { path: '/:room' },
    )
    const refused: [request: Parameters<typeof handshake>[0], status: number][] = [
      [{ path: '/a/b' }, 404],
      [{ key: 'short' }, 400],
      [{ version: '12' }, 426],
      [{ path: '/%E0%A4%A' }, 400],
      [{ path: '/%' }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: a, b, a'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: a', 'Sec-WebSocket-Protocol: a'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: a b'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: v1/a'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: ok, https://example.com'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: \u00a0a'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: "a"'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol:'] }, 400],
      [{ headers: ['Sec-WebSocket-Protocol: ,'] }, 400],
      [{ headers: ['Content-Length: 5'] }, 400],
    ]
    for (const [request, status] of refused)
      expect([request, (await knock(served, { path: '/a', ...request })).status]).toEqual([request, status])
    expect(asked).toBe(0)
    expect((await knock(served, { path: '/a', headers: ['Content-Length: 0'] })).status).toBe(101)
    expect(asked).toBe(1)
  })
})

describeEngines('an answer of upgrade that cannot be used', (engine) => {
  const cases: [what: string, answer: unknown, name: string, message: RegExp][] = [
    ['nothing', undefined, 'TypeError', /^upgrade must return \{ data, protocol\?, headers\? \} .*, got undefined$/],
    ['null', null, 'TypeError', /got null$/],
    ['true', true, 'TypeError', /got true$/],
    ['an object without data', { protocol: 'chat' }, 'TypeError', /got an object without data$/],
    [
      'what looks like a refusal',
      { data: null, status: 401 },
      'OptionError',
      /^status must be a known option \(data, protocol, headers, /,
    ],
    [
      'a protocol that was not offered',
      { data: 1, protocol: 'other' },
      'OptionError',
      /^protocol must be one that the client offered \(chat\), got "other"$/,
    ],
    ['an empty protocol', { data: 1, protocol: '' }, 'OptionError', /^protocol must be/],
    ['a protocol that is no string', { data: 1, protocol: 5 }, 'OptionError', /^protocol must be/],
    ['headers that are a string', { data: 1, headers: 'a: b' }, 'OptionError', /^headers must be/],
    [
      'a header with a line break',
      { data: 1, headers: { 'x-a': 'a\r\nx-b: b' } },
      'OptionError',
      /^headers\.x-a must be a string of printable ASCII/,
    ],
    ['a header beyond ASCII', { data: 1, headers: { 'x-a': 'ü' } }, 'OptionError', /^headers\.x-a must be/],
    ['a header that is a number', { data: 1, headers: { 'x-a': 5 } }, 'OptionError', /^headers\.x-a must be/],
    [
      'a header whose name has a line break',
      { data: 1, headers: { 'x-a\r\nx-b': '1' } },
      'OptionError',
      /^headers must be named by tokens/,
    ],
    ['a header without a name', { data: 1, headers: { '': '1' } }, 'OptionError', /^headers must be named by tokens/],
    ['a header with a line break in a list', { data: 1, headers: [['x-a', '1\n']] }, 'OptionError', /^headers\.x-a must be/],
    ['pairs that are none', { data: 1, headers: [5] }, 'OptionError', /^headers must be/],
    ...[
      'Upgrade',
      'Connection',
      'Sec-WebSocket-Accept',
      'sec-websocket-extensions',
      'Content-Length',
      'Transfer-Encoding',
      'Date',
    ].map((name): [string, unknown, string, RegExp] => [
      `the server's own header ${name}`,
      { data: 1, headers: { [name]: 'x' } },
      'OptionError',
      /^headers must be without what the server writes itself/,
    ]),
    ['the subprotocol as a header', { data: 1, headers: { 'Sec-WebSocket-Protocol': 'chat' } }, 'OptionError', /use protocol/],
    ['a Response with a status that is none', Response.error(), 'RangeError', /status 0/],
  ]
  for (const [what, answer, name, message] of cases) {
    test(`(${what}) gives the client 500 and a ${name} to onError`, async () => {
      let opened = 0
      const served = await serveWithErrors<unknown>(engine, {
        upgrade: () => answer as Accept<unknown>,
        open: () => void opened++,
      })
      expect((await knock(served, { headers: ['Sec-WebSocket-Protocol: chat'] })).status).toBe(500)
      const error = await served.errors.next('the error')
      expect(error.name).toBe(name)
      expect(error.message).toMatch(message)
      expect(opened).toBe(0)
      expect(served.server.connections).toBe(0)
    })
  }
})

describeEngines('closing the server while an upgrade is under way', (engine) => {
  const settle = (answer: Accept<unknown> | Response, status: number) => {
    test(`refuses it with ${status} when its handler ${answer instanceof Response ? 'refuses' : 'accepts'}, and waits for that`, async () => {
      const gate = gatekeeper()
      let opened = 0
      const served = await serve<unknown>(engine, { upgrade: gate.upgrade, open: () => void opened++ })
      const client = await RawClient.connect(served)
      client.write(handshake())
      const request = await gate.requests.next('the request')
      let done = false
      const closed = served.server.close({ timeout: 60_000 }).then(() => {
        done = true
      })
      await turns()
      expect(done).toBe(false)
      expect(request.signal.aborted).toBe(false)
      gate.answer(answer)
      expect((await client.response()).status).toBe(status)
      await within(closed, 'close')
      await client.closed()
      expect(opened).toBe(0)
    })
  }
  settle({ data: 1 }, 503)
  settle(new Response(null, { status: 401 }), 401)

  test('cuts it after the timeout, and its signal aborts', async () => {
    const { upgrade, answer, requests } = gatekeeper()
    let opened = 0
    const served = await serve<unknown>(engine, { upgrade, open: () => void opened++ })
    const client = await RawClient.connect(served)
    client.write(handshake())
    const { signal } = await requests.next('the request')
    await within(served.server.close({ timeout: 100 }), 'close')
    expect(signal.aborted).toBe(true)
    await client.closed()
    answer({ data: 1 })
    await turns()
    expect(opened).toBe(0)
    expect(served.server.connections).toBe(0)
  })

  test('is possible from the handler itself, which is then refused with 503', async () => {
    const closed = new Deferred()
    const served = await serve<undefined>(engine, {
      upgrade() {
        served.server.close().then(() => closed.resolve(), closed.reject)
        return { data: undefined }
      },
    })
    expect(await refusal(served, '/')).toBe(503)
    await within(closed.promise, 'close')
  })
})

describeEngines('request.terminate of a pending upgrade', (engine) => {
  for (const tls of [false, true]) {
    test(`cuts the connection without a response, and what the handler returns is ignored (TLS: ${tls})`, async () => {
      const gate = gatekeeper()
      const errors = new Queue<Error>()
      let opened = 0
      const served = await serve<unknown>(
        engine,
        { upgrade: gate.upgrade, open: () => void opened++ },
        { server: { maxConnections: 2, onError: (error) => errors.push(error), ...(tls && { tls: true }) } },
      )
      for (const answer of [{ data: 1 }, new Response('late', { status: 401 })]) {
        const client = await RawClient.connect(served)
        client.write(handshake(), text('early'))
        const request = await gate.requests.next('the request')
        const aborted = new Promise((resolve) => request.signal.addEventListener('abort', resolve))
        request.terminate()
        request.terminate()
        await within(aborted, 'the abort signal')
        expect(String(await client.rest())).toBe('')
        gate.answer(answer)
        await turns()
      }
      expect([opened, served.server.connections, errors.size]).toEqual([0, 0, 0])
      // Neither has kept its place.
      const clients = [Client.open(served), Client.open(served)]
      for (const _ of clients) {
        await gate.requests.next('another request')
        gate.answer({ data: 2 })
      }
      await Promise.all(clients)
      expect(opened).toBe(2)
    })
  }

  test('cuts it before the handler returns, too, and does nothing once it has decided', async () => {
    const requests = new Queue<UpgradeRequest>()
    const served = await serve<undefined>(engine, {
      upgrade(request) {
        requests.push(request)
        if (request.path === '/cut') request.terminate()
        return { data: undefined }
      },
      message: (socket, message) => void socket.send(message),
    })
    const cut = await RawClient.connect(served)
    cut.write(handshake({ path: '/cut' }))
    expect(String(await cut.rest())).toBe('')
    await requests.next('the request')
    const client = await Client.open(served)
    const request = await requests.next('another request')
    request.terminate()
    expect(await client.ask('still here')).toBe('still here')
  })
})

describeEngines('a socket that was accepted', (engine) => {
  test('may be closed in open, before any early frame is delivered', async () => {
    const messages: unknown[] = []
    const served = await serve<undefined>(engine, {
      upgrade: () => later({ data: undefined }),
      open: (socket) => socket.close(4000),
      message: (_, message) => void messages.push(message),
    })
    const client = await RawClient.connect(served)
    client.write(handshake(), text('early'))
    expect((await client.response()).status).toBe(101)
    expect((await client.frame()).payload.readUInt16BE()).toBe(4000)
    client.write(closeFrame(4000))
    await client.rest()
    expect(messages).toEqual([])
  })
})
