/**
 * One target, one reading: the route, its parameters, `request.path`, `request.url` and a framework behind it
 * see the same path.
 */
import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import type { ServerRequest } from '../../src/index.js'
import { Random } from '../fuzz/random.mjs'
import { AVAILABLE_ENGINES, describeEngines, type EngineName, type Served, serve } from '../support/engines.js'
import { type HttpResponse, handshake, RawClient } from '../support/raw-client.js'

/** What one request came to, as seen by everything that looks at its path. */
interface Reading {
  /** The path of the route that was chosen. */
  readonly route: string
  readonly path: string
  readonly params: Readonly<Record<string, string>>
  readonly url: string
  readonly query: string
  /** What Hono routes by. */
  readonly framework: string
}

const ROUTES = ['/admin/*', '/public/:name', '/*'] as const

/** The route that a path belongs to, as far as `ROUTES` says. */
function routeOf(path: string): (typeof ROUTES)[number] {
  if (path.startsWith('/admin/')) return '/admin/*'
  return /^\/public\/[^/]+$/.test(path) ? '/public/:name' : '/*'
}

async function serveReadings(engine: EngineName): Promise<Served> {
  const framework = new Hono().all('*', (c) => c.text(c.req.path))
  const read = async (route: string, request: ServerRequest): Promise<Response> => {
    const { path, params, url, query } = request
    const seen = await (await framework.fetch(new Request(url))).text()
    return Response.json({ route, path, params, url, query: query.toString(), framework: seen } satisfies Reading)
  }
  return serve(
    engine,
    { upgrade: (request) => read('/*', request) },
    {
      routes: (server) => {
        for (const route of ROUTES) server.any(route, (request) => read(route, request))
        for (const route of ROUTES.slice(0, 2)) server.ws(route, { upgrade: (request) => read(route, request) })
        server.ws('/plain/*', {})
      },
    },
  )
}

async function ask(served: Served, request: string): Promise<HttpResponse> {
  const client = await RawClient.connect(served)
  client.write(Buffer.from(request, 'latin1'))
  const answer = await client.response()
  client.vanish()
  return answer
}

const get = (target: string, host: string) => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
const upgrade = (target: string, host: string) => handshake({ path: target }).replace('Host: localhost', `Host: ${host}`)

/**
 * Whether both readings of a request, the plain one and the upgrade, hold together. Undefined where it was
 * refused.
 */
function checked(answer: HttpResponse, what: string): Reading | undefined {
  if (answer.status !== 200) {
    expect([400, 505], what).toContain(answer.status)
    return undefined
  }
  const reading = JSON.parse(answer.body.toString()) as Reading
  const { route, path, params, url, query, framework } = reading
  const { pathname, searchParams, hash, username } = new URL(url)
  expect({ path: pathname, query: searchParams.toString(), hash, username }, what).toEqual({
    path,
    query,
    hash: '',
    username: '',
  })
  expect([routeOf(path), routeOf(framework)], what).toEqual([route, route])
  expect(params.name, what).toBe(route === '/public/:name' ? decodeURIComponent(path.slice('/public/'.length)) : undefined)
  return reading
}

const PIECES = [
  ...['/', '/', '/', '//', '/admin', '/public', '/admin/', '/public/x', '/../', '/./', '..', '.', '%2e', '%2E%2e', '/%2e./'],
  ...['%61dmin', 'admin', 'x', '%2f', '%2F', '%5c', '\\', '%25', '%252e', '%', '%zz', '%ff', '%c3%a9', '%00', '%0d%0a', '%7e'],
  ...[
    '?',
    '#',
    '?a=b',
    '&c',
    ';',
    ':',
    '@',
    '*',
    '|',
    '[',
    ']',
    '{',
    '^',
    '"',
    '<',
    '`',
    "'",
    '!',
    '(',
    '=',
    '+',
    '$',
    '~',
    '%21',
  ],
  ...['\t', '\x01', '\x7f', '\xe9', 'http://', 'https://', 'http://evil.example', 'evil.example:80', 'user@'],
] as const

const HOST_PIECES = [
  ...['a', 'localhost', 'example.com', '127.0.0.1', '[::1]', ':80', ':', '.', '-', '_', '', '/', '/admin', '?', '#', '\\', '@'],
  ...[',', ' ', '\t', '%61', '%2f', '[', ']', '\xe9', 'xn--', '65536', '1', '..', '*', ';', '"', '<', 'http://'],
] as const

/** A target, of which most are right, and a Host, of which many are. */
function randomRequest(random: Random): [target: string, host: string] {
  const pieces = Array.from({ length: 1 + random.int(6) }, () => random.pick(PIECES))
  const hosts = Array.from({ length: 1 + random.int(3) }, () => random.pick(HOST_PIECES))
  const start = random.chance(0.9) ? '/' : ''
  return [start + pieces.join(''), random.chance(0.6) ? random.pick(['a', 'localhost:80', '[::1]', '']) : hosts.join('')]
}

/** Another one is tried by `TARGET_SEED=7 npm test -- test/http/target.test.ts`. */
const SEED = Number(process.env.TARGET_SEED ?? 1)
const COUNT = 500

const requests = (() => {
  const random = new Random(SEED)
  return Array.from({ length: COUNT }, () => randomRequest(random))
})()

describeEngines('random targets and Hosts', (engine) => {
  test(`are read once, or refused: seed ${SEED}`, { timeout: 120_000 }, async () => {
    const served = await serveReadings(engine)
    /** What the framework makes of a path, and the path. */
    const paths = new Map<string, string>()
    let [read, refused] = [0, 0]
    for (const [target, host] of requests) {
      const what = JSON.stringify([target, host])
      const plain = checked(await ask(served, get(target, host)), what)
      const upgraded = checked(await ask(served, upgrade(target, host)), what)
      expect(upgraded, what).toEqual(plain)
      if (plain === undefined) {
        refused += 1
        continue
      }
      read += 1
      expect(paths.get(plain.framework) ?? plain.path, what).toBe(plain.path)
      paths.set(plain.framework, plain.path)
    }
    // Else they would show nothing.
    expect(read).toBeGreaterThan(COUNT / 10)
    expect(refused).toBeGreaterThan(COUNT / 10)
  })
})

describe.skipIf(AVAILABLE_ENGINES.length < 2)('both engines (skipped where only one is tested)', () => {
  test(`read the same of random targets and Hosts: seed ${SEED}`, { timeout: 120_000 }, async () => {
    const [one, other] = [await serveReadings('native'), await serveReadings('portable')]
    for (const [target, host] of requests) {
      const answers = [await ask(one, get(target, host)), await ask(other, get(target, host))]
      // µWebSockets answers 505 where anything but a path, without control characters, is behind the method.
      const isOrigin = /^\/[^\0-\x20]*$/.test(target)
      if (!isOrigin && answers[0]?.status === 505) continue
      const [first, second] = answers.map(({ status, body }) => (status === 200 ? body.toString() : status))
      expect(first, JSON.stringify([target, host])).toBe(second)
    }
  })
})

describeEngines('a Host', (engine) => {
  test.each([
    'a/admin?',
    'a/admin#',
    'a\\admin',
    'a?',
    'a,b',
    'a b',
    'user@a',
    'http://a',
    'a:b',
    'a:65536',
    '[::1',
    '%61',
    'caf\xe9',
    'a\r\nHost: b',
    'a\r\nHost: a',
    '\r\nHost: a',
  ])('%j is answered with 400, to requests and handshakes alike', async (host) => {
    const served = await serveReadings(engine)
    for (const request of [get('/public/x', host), upgrade('/public/x', host), upgrade('/plain/x', host)]) {
      expect((await ask(served, request)).status).toBe(400)
    }
  })

  test('that is refused ends the connection, so that nothing is taken for another request', async () => {
    const served = await serveReadings(engine)
    const client = await RawClient.connect(served)
    client.write(get('/', 'a b').replace('close', 'keep-alive'), get('/', 'a'))
    expect((await client.response()).status).toBe(400)
    expect((await client.rest()).toString()).toBe('')
  })

  test('that is empty leaves the URL to localhost', async () => {
    const served = await serveReadings(engine)
    for (const request of [get('/public/x', ''), upgrade('/public/x', '')]) {
      expect(JSON.parse((await ask(served, request)).body.toString())).toMatchObject({ url: 'http://localhost/public/x' })
    }
    expect((await ask(served, upgrade('/plain/x', ''))).status).toBe(101)
  })

  test('counts as a refused upgrade, or as a request', async () => {
    const served = await serveReadings(engine)
    await ask(served, get('/', 'a b'))
    await ask(served, upgrade('/', 'a b'))
    expect(served.server.metrics()).toMatchObject({ httpRequests: 1, upgradesRefused: 1 })
  })
})

describeEngines('a target', (engine) => {
  test.each([
    ['/a/../admin/x', '/admin/x', '/admin/*'],
    ['/public/%2e%2e/admin/x', '/admin/x', '/admin/*'],
    ['/%61dmin/x', '/admin/x', '/admin/*'],
    ['//evil.example/admin', '//evil.example/admin', '/*'],
    ['/public/..%2fadmin', '/public/..%2Fadmin', '/public/:name'],
    ['/public/%5badmin]', '/public/%5Badmin%5D', '/public/:name'],
  ])('%s has the path %s everywhere', async (target, path, route) => {
    const served = await serveReadings(engine)
    for (const request of [get(target, 'a'), upgrade(target, 'a')]) {
      const reading = checked(await ask(served, request), target)
      expect(reading).toMatchObject({ path, route, url: `http://a${path}` })
    }
  })

  test.each(['/a\\b', '/a#b', '/%zz', '/a%', '/caf\xe9'])(
    '%j is answered with 400, to requests and handshakes alike',
    async (target) => {
      const served = await serveReadings(engine)
      for (const request of [get(target, 'a'), upgrade(target, 'a'), upgrade(`/plain${target}`, 'a')]) {
        expect((await ask(served, request)).status).toBe(400)
      }
    },
  )

  test.each([
    ['http://b.example/a/../admin/x?q', 'http://b.example/admin/x?q'],
    ['http://b.example', 'http://b.example/'],
  ])('in absolute form, %s, names its own authority (the native engine answers 505)', async (target, url) => {
    const served = await serveReadings(engine)
    for (const request of [get(target, 'a'), upgrade(target, 'a')]) {
      const answer = await ask(served, request)
      if (engine === 'native') expect(answer.status).toBe(505)
      else expect(checked(answer, target)).toMatchObject({ url })
    }
  })

  test('in absolute form may ask for a WebSocket (the native engine answers 505)', async () => {
    const served = await serveReadings(engine)
    const { status } = await ask(served, upgrade('http://b.example/plain/x', 'a'))
    expect(status).toBe(engine === 'native' ? 505 : 101)
  })

  test.each([
    ['http://user@b.example/', 'a'],
    ['http://b.example/', 'a b'],
    ['http://b.example\\admin', 'a'],
    ['ftp://b.example/', 'a'],
    ['*', 'a'],
    ['b.example:80', 'a'],
  ])('%s with the Host %s is refused', async (target, host) => {
    const served = await serveReadings(engine)
    for (const request of [get(target, host), upgrade(target, host)]) {
      expect((await ask(served, request)).status).toBe(engine === 'native' ? 505 : 400)
    }
  })

  test('of OPTIONS may be an asterisk, which no route has (the native engine answers 505)', async () => {
    const served = await serveReadings(engine)
    const { status } = await ask(served, get('*', 'a').replace('GET', 'OPTIONS'))
    expect(status).toBe(engine === 'native' ? 505 : 404)
  })
})
