/**
 * Floods, and who counts them: what tests of turns of the event loop have in common. What is asserted is
 * order, not time: how much of a flood has come when another client is answered.
 */
import { type EngineName, type Served, type ServeOptions, serve } from './engines.js'
import { frame, RawClient } from './raw-client.js'
import { within } from './waiting.js'

/** What one connection gets in a turn: the numbers of src/engine/portable/turn-budget.ts. */
export const REQUESTS = 16
export const EVENTS = 256
/** Turns that may pass until a request is read, answered, and its answer seen. */
export const TURNS = 4

export const GET = 'GET /flood HTTP/1.1\r\nHost: a\r\n\r\n'
export const empty = (opcode: number, fin = true) => frame({ opcode, fin })
export const post = (body: string, ...fields: string[]) =>
  `POST /flood HTTP/1.1\r\n${['Host: a', ...fields].join('\r\n')}\r\n\r\n${body}`
export const chunked = (body: string) => post(body, 'Transfer-Encoding: chunked')

export const repeated = (piece: string | Buffer, times: number): Buffer => {
  const bytes = Buffer.from(piece)
  return Buffer.concat(Array.from({ length: times }, () => bytes))
}

export interface Counted extends Served {
  readonly seen: { count: number }
  /** Resolves when so many have been seen. */
  until(count: number): Promise<void>
}

/**
 * Counts what comes on `/flood` and on WebSockets, and answers `/witness` with how much that was so far.
 * Calls `work` for each.
 */
export async function counting(engine: EngineName, options: ServeOptions['server'] = {}, work = () => {}): Promise<Counted> {
  const seen = { count: 0 }
  let [awaited, reached] = [Number.POSITIVE_INFINITY, () => {}]
  const count = (number = 1) => {
    seen.count += number
    work()
    if (seen.count >= awaited) reached()
  }
  const served = await serve(
    engine,
    { compression: {}, message: () => count(), ping: () => count(), pong: () => count() },
    {
      path: '/socket',
      server: options,
      routes: (server) =>
        server
          .get('/witness', () => new Response(String(seen.count)))
          .any('/flood', async ({ body, headers }) => {
            if (headers.has('content-length') || body === null) count()
            else for await (const bytes of body) count(bytes.length)
            return new Response('ok')
          }),
    },
  )
  const until = (target: number) =>
    within(
      new Promise<void>((resolve) => {
        ;[awaited, reached] = [target, resolve]
        if (seen.count >= target) resolve()
      }),
      `all that was sent (${seen.count} came)`,
      60_000,
    )
  return { ...served, seen, until }
}

export const WITNESS = 'GET /witness HTTP/1.1\r\nHost: a\r\n\r\n'

/** A client whose connection the server has accepted: a WebSocket, or one of HTTP alone. */
export async function openFlooder(served: Counted, isWebSocket = false): Promise<RawClient> {
  if (isWebSocket) return RawClient.open(served, { path: '/socket' })
  const client = await RawClient.connect(served)
  client.write(WITNESS)
  await client.response()
  return client
}

/** Counts in each turn while it watches. */
export class Meter {
  /** So many in the turn that had most. */
  most = 0
  #count = 0
  #seen = 0
  #isOver = false

  constructor() {
    const look = () => {
      this.#look()
      if (!this.#isOver) setImmediate(look)
    }
    look()
  }

  get count(): number {
    return this.#count
  }

  add(): void {
    this.#count += 1
  }

  /** Forgets the turns until now. */
  reset(): void {
    this.#look()
    this.most = 0
  }

  stop(): void {
    this.#look()
    this.#isOver = true
  }

  #look(): void {
    this.most = Math.max(this.most, this.#count - this.#seen)
    this.#seen = this.#count
  }
}
