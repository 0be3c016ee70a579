/** `requestTimeout`: how long a request may take to come, and what becomes of one that takes longer. */
import { expect, type TestContext, test } from 'vitest'
import type { Accept, ServerRequest, WebSocketHandlers } from '../../src/index.js'
import {
  type Address,
  type Cleanup,
  describeEnginesAtOnce,
  type EngineName,
  type Served,
  type ServeOptions,
  serve,
} from '../support/engines.js'
import { handshake, RawClient, text } from '../support/raw-client.js'
import { Queue, turns, within } from '../support/waiting.js'

const post = (path: string, ...fields: string[]): string =>
  `${[`POST ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`

type Handler = (request: ServerRequest) => Response | Promise<Response>

/** What a test needs, for as long as it runs: they run at once, since each waits for a second or two. */
class Stage {
  readonly #engine: EngineName
  readonly #cleanup: Cleanup

  constructor(engine: EngineName, { onTestFinished }: TestContext) {
    this.#engine = engine
    this.#cleanup = (action) => onTestFinished(async () => action())
  }

  /** A server whose requests have a second, unless the options say otherwise. */
  serve(handler: Handler, server: ServeOptions['server'] = {}, more: WebSocketHandlers<undefined> = {}): Promise<Served> {
    return serve(
      this.#engine,
      { message: (socket, data) => void socket.send(data), ...more },
      {
        path: '/socket',
        routes: (routes) => routes.any('/', handler),
        server: { requestTimeout: 1, ...server },
        cleanup: this.#cleanup,
      },
    )
  }

  connect(address: Address, allowHalfOpen = false): Promise<RawClient> {
    return RawClient.connect(address, { allowHalfOpen, cleanup: this.#cleanup })
  }

  open(address: Address): Promise<RawClient> {
    return RawClient.open(address, { path: '/socket' }, { cleanup: this.#cleanup })
  }

  /** Sends the same bytes ten times a second, until its test or its connection ends. */
  drip(client: RawClient, bytes: string): void {
    const timer = setInterval(() => client.socket.write(bytes), 100)
    const stop = () => clearInterval(timer)
    client.socket.on('close', stop)
    this.#cleanup(stop)
  }

  /**
   * Sends something and lets more drip behind it; gives all that has come when the server has ended the
   * connection.
   */
  async drippingFrom(address: Address, first: string, more: string): Promise<string> {
    const client = await this.connect(address)
    const before = performance.now()
    client.write(first)
    this.drip(client, more)
    const answer = (await client.rest()).toString()
    expect(performance.now() - before).toBeGreaterThan(990) // timers of Node may strike a millisecond early
    return answer
  }
}

describeEnginesAtOnce('requestTimeout', (engine: EngineName) => {
  for (const [what, first, more] of [
    ['its target', 'GET /', 'a'],
    ['a field of its head', 'GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ', 'x'],
    ['fields of its head', 'GET / HTTP/1.1\r\nHost: localhost\r\n', 'X-Slow: x\r\n'],
  ] as const) {
    test.concurrent(`ends a request of which ${what} drips in, with 408`, async (context) => {
      const stage = new Stage(engine, context)
      const requests = new Queue<ServerRequest>()
      const served = await stage.serve((request) => {
        requests.push(request)
        return new Response()
      })
      expect(await stage.drippingFrom(served, first, more)).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/)
      expect(requests.size).toBe(0)
    })
  }

  for (const [how, head, more] of [
    ['with a length', post('/', 'Content-Length: 1000'), 'x'],
    ['in chunks', post('/', 'Transfer-Encoding: chunked'), '1\r\nx\r\n'],
  ] as const) {
    test.concurrent(`ends a request whose body drips in, ${how}, with 408: the handler is told`, async (context) => {
      const stage = new Stage(engine, context)
      const seen = new Queue<{ signal: AbortSignal; reading: Promise<string> }>()
      const errors = new Queue<unknown>()
      const served = await stage.serve(
        async (request) => {
          const reading = request.text()
          seen.push({ signal: request.signal, reading })
          return new Response(await reading)
        },
        { onError: (error) => errors.push(error) },
      )
      const answer = await stage.drippingFrom(served, head, more)
      expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n(.+\r\n)*Connection: close\r\n/i)
      const { signal, reading } = await seen.next('the request')
      const failure: unknown = await within(reading, 'the end of the reading').catch((error: unknown) => error)
      expect(failure).toBe(signal.reason)
      expect(signal.aborted).toBe(true)
      await turns(10)
      expect(errors.size).toBe(0)
    })
  }

  test.concurrent('counts while the handler does not read', async (context) => {
    const stage = new Stage(engine, context)
    const served = await stage.serve(() => new Promise<Response>(() => {}))
    const client = await stage.connect(served)
    client.write(post('/', 'Content-Length: 1000000'), Buffer.alloc(500_000))
    expect((await client.rest()).toString()).toMatch(/^HTTP\/1\.1 408 /)
  })

  test.concurrent('counts while "100 Continue" is waited for', async (context) => {
    const stage = new Stage(engine, context)
    const served = await stage.serve(() => new Promise<Response>(() => {}))
    const client = await stage.connect(served)
    client.write(post('/', 'Content-Length: 10', 'Expect: 100-continue'))
    expect((await client.rest()).toString()).toMatch(/^HTTP\/1\.1 408 /)
  })

  test.concurrent('ends a body that is thrown away behind an early answer, without another', async (context) => {
    const stage = new Stage(engine, context)
    const served = await stage.serve(() => new Response('early'))
    const answer = await stage.drippingFrom(served, post('/', 'Content-Length: 1000'), 'x')
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer).toMatch(/\r\n\r\nearly$/)
  })

  test.concurrent('ends a body that is thrown away behind a refusal, before its client would have to end the connection', async (context) => {
    const stage = new Stage(engine, context)
    const served = await stage.serve(() => new Response(), { maxRequestBodySize: 10 })
    const client = await stage.connect(served, true)
    const before = performance.now()
    client.write(post('/', 'Content-Length: 1000'))
    stage.drip(client, 'x')
    expect((await client.response()).status).toBe(413)
    expect((await client.rest()).length).toBe(0)
    await client.closed('the end of the connection', 5000)
    expect(performance.now() - before).toBeGreaterThan(990)
  })

  test.concurrent('ends an answer that has begun in the middle', async (context) => {
    const stage = new Stage(engine, context)
    const cancelled = new Queue<unknown>()
    const endless = () =>
      new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new TextEncoder().encode('begun')),
        cancel: (reason) => cancelled.push(reason),
      })
    const served = await stage.serve(() => new Response(endless()))
    const answer = await stage.drippingFrom(served, post('/', 'Transfer-Encoding: chunked'), '1\r\nx\r\n')
    expect(answer).toMatch(/^HTTP\/1\.1 200 (.|\s)*\r\n5\r\nbegun\r\n$/)
    await cancelled.next('the cancellation')
  })

  test.concurrent('does not count between requests, for answers, and for WebSockets', async (context) => {
    const stage = new Stage(engine, context)
    const answers = new Queue<(response: Response) => void>()
    const served = await stage.serve(({ method }) =>
      method === 'PUT' ? new Promise((resolve) => answers.push(resolve)) : new Response(),
    )
    const idle = await stage.connect(served)
    idle.write(post('/', 'Content-Length: 5'), 'whole')
    expect((await idle.response()).status).toBe(200)
    const waiting = await stage.connect(served)
    waiting.write(post('/', 'Content-Length: 5').replace('POST', 'PUT'), 'whole')
    const answer = await answers.next('the request')
    const socket = await stage.open(served)
    // Its client takes its time for one message.
    const slow = await stage.open(served)
    slow.write(Buffer.from([0x81]))

    // Two clients are late, one after the other: when both are cut off, the time of those above has run out.
    for (let n = 0; n < 2; n++) expect(await stage.drippingFrom(served, 'GET /', 'a')).toMatch(/ 408 /)
    idle.write(post('/', 'Content-Length: 5'), 'again')
    expect((await idle.response()).status).toBe(200)
    answer(new Response('late'))
    expect((await waiting.response()).body.toString()).toBe('late')
    socket.write(text('still here?'))
    expect((await socket.frame()).payload.toString()).toBe('still here?')
    slow.write(Buffer.from([0x80, 0, 0, 0, 0]))
    expect((await slow.frame()).payload.length).toBe(0)
  })

  test.concurrent('begins anew with each request of a connection', async (context) => {
    const stage = new Stage(engine, context)
    const served = await stage.serve(async (request) => new Response(await request.text()))
    const client = await stage.connect(served)
    const before = performance.now()
    // Each takes a part of the second; together they take more.
    for (let n = 0; performance.now() - before < 2500; n++) {
      client.write(post('/', 'Content-Length: 3'), 'a')
      for (const part of ['b', `${n % 10}`]) {
        await new Promise((resolve) => setTimeout(resolve, 100))
        client.write(part)
      }
      expect((await client.response()).body.toString()).toBe(`ab${n % 10}`)
    }
    stage.drip(client, 'G')
    expect((await client.rest()).toString()).toMatch(/^HTTP\/1\.1 4\d\d /)
  })

  test.concurrent('of 0 is no limit, and an upgrade that takes its time needs none', async (context) => {
    const stage = new Stage(engine, context)
    const unlimited = await stage.serve(async (request) => new Response(await request.text()), { requestTimeout: 0 })
    const patient = await stage.connect(unlimited)
    patient.write(post('/', 'Content-Length: 2'), 'a')
    const gates = new Queue<(accept: Accept<undefined>) => void>()
    const limited = await stage.serve(
      () => new Response(),
      {},
      {
        upgrade: () => new Promise<Accept<undefined>>((resolve) => gates.push(resolve)),
      },
    )
    const upgrading = await stage.connect(limited)
    upgrading.write(handshake({ path: '/socket' }))
    const open = await gates.next('the upgrade')
    for (let n = 0; n < 2; n++) expect(await stage.drippingFrom(limited, 'GET /', 'a')).toMatch(/ 408 /)
    open({ data: undefined })
    expect((await upgrading.response()).status).toBe(101)
    patient.write('b')
    expect((await patient.response()).body.toString()).toBe('ab')
  })

  test.concurrent('over TLS ends a request likewise', async (context) => {
    const stage = new Stage(engine, context)
    const served = await stage.serve(async (request) => new Response(await request.text()), { tls: true })
    expect(await stage.drippingFrom(served, post('/', 'Content-Length: 1000'), 'x')).toMatch(/^HTTP\/1\.1 408 /)
    expect(await stage.drippingFrom(served, 'GET /', 'a')).toMatch(/^HTTP\/1\.1 408 /)
  })
})
