/**
 * Nothing grows faster than its input: each parser of what a client sends is given the worst shapes at one
 * length, at four and at sixteen times that. Regular expressions, queues, and what is read in pieces, have
 * tests of their own that count; here there is nothing to count but time. Four times the input may take four
 * times as long; the square would be sixteen. What disturbs a measurement makes it longer, so the shortest
 * counts.
 */
import { describe, expect, test } from 'vitest'
import type { RequestHead } from '../../src/engine/contract.js'
import { requestHeadOf } from '../../src/engine/native/request.js'
import { headOf } from '../../src/engine/portable/http-request.js'
import { headerOf, IncomingRequest } from '../../src/http/request.js'
import { decodeParams, RouteTable } from '../../src/http/routes.js'
import { normalizePath, readTarget } from '../../src/http/target.js'
import { resolveAllowedOrigins } from '../../src/options/origins.js'
import { resolveRoute } from '../../src/options/websocket.js'
import { agreeOnCompression, extensionOffersOf } from '../../src/websocket/deflate-negotiation.js'
import { isWebSocketUpgrade, refusalOf } from '../../src/websocket/handshake.js'
import { offeredProtocols } from '../../src/websocket/subprotocols.js'

/** Between four, of what is linear, and sixteen. */
const MOST = 10
/** Of the shortest input; the longest is sixteen times as long, which is all that a head can have. */
const LENGTH = 1024
/** Milliseconds that are measured for each length. */
const ENOUGH = 10
/**
 * Milliseconds within which the longest input is not compared: what takes no more is too short to be
 * measured, and the square of its length has 270 million steps.
 */
const NOTHING = 0.25
/** How often the comparison is made before it counts. */
const ATTEMPTS = 10

function shortest(action: () => unknown): number {
  let best = Number.POSITIVE_INFINITY
  for (let spent = 0, runs = 0; runs < 3 || spent < ENOUGH; runs++) {
    const start = performance.now()
    action()
    const time = performance.now() - start
    spent += time
    best = Math.min(best, time)
  }
  return best
}

/**
 * How many times as long four times the input takes, twice over: the lesser of the two. What grows with the
 * square has sixteen both times; where V8 has another way with long lists (of 16,384 items, for example),
 * that shows once. The least of a few attempts.
 */
function growth<T>(make: (length: number) => T, parse: (input: T) => unknown, attempts = ATTEMPTS): number {
  const [short, middle, long] = [make(LENGTH), make(4 * LENGTH), make(16 * LENGTH)]
  let least = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < attempts && least > MOST; attempt++) {
    const times = [shortest(() => parse(short)), shortest(() => parse(middle)), shortest(() => parse(long))] as const
    if (times[2] < NOTHING) return 0
    least = Math.min(least, Math.min(times[1] / times[0], times[2] / times[1]))
  }
  return least
}

const fill = (piece: string) => (length: number) => piece.repeat(Math.ceil(length / piece.length))

const head = (fields: string, url = '/'): RequestHead => ({
  method: 'GET',
  url,
  fields: `\n${fields}`,
  hasBody: false,
  remoteAddress: '192.0.2.1',
  endpoints: '50000 198.51.100.1 443',
  proxiedAddress: '',
})

/** A field with a value of a length. */
const field = (name: string, value: (length: number) => string) => (length: number) => head(`${name}:${value(length)}\n`)

const between = (start: string, fillWith: string, end: string) => (length: number) => `${start}${fill(fillWith)(length)}${end}`

describe('a list in a header', () => {
  const lists: [string, (length: number) => string][] = [
    ['of blanks between two letters', between('a', ' ', 'b')],
    ['of tabs', fill('\t')],
    ['of commas', fill(',')],
    ['of commas and blanks', fill(' \t,')],
    ['of one long token', fill('a')],
    ['of short tokens', (length) => Array.from({ length: length / 8 }, (_, index) => `t${index}`).join()],
    ['of one token again and again', fill('a,')],
    ['of tokens among blanks', fill('   a   ,')],
    ['of parameters', between('a', ';b=c', '')],
    ['of parameters that are void', between('a', ';', '')],
    ['of blanks before a semicolon', between('permessage-deflate', ' ', ';x')],
    ['of blanks before nothing', between('permessage-deflate;a=b', ' ', '"')],
    ['of quotes', fill('"')],
    ['of backslashes', fill('\\')],
    ['of quoted parameters', between('a', ';b="\\c"', '')],
    ['of equals signs', between('a;b', '=', '')],
    ['of offers', fill('permessage-deflate,')],
    ['of offers to be declined', fill('permessage-deflate;server_max_window_bits=7,')],
    ['of one parameter again and again', between('permessage-deflate', ';server_no_context_takeover', '')],
    ['of non-breaking spaces', fill('\u00a0')],
  ]
  const { compression } = resolveRoute({ compression: {} })
  if (compression === undefined) throw new Error('no compression')

  test.each(lists)('%s', { timeout: 60_000 }, (_what, value) => {
    expect(growth(field('sec-websocket-protocol', value), offeredProtocols)).toBeLessThan(MOST)
    const agree = (request: RequestHead) => agreeOnCompression(extensionOffersOf(request) ?? [], compression)
    expect(growth(field('sec-websocket-extensions', value), agree)).toBeLessThan(MOST)
    const upgrade = (length: number) => head(`upgrade:${value(length)},websocket\nconnection:${value(length)},upgrade\n`)
    expect(growth(upgrade, isWebSocketUpgrade)).toBeLessThan(MOST)
  })
})

describe('a head', () => {
  const heads: [string, (length: number) => RequestHead][] = [
    ['of many fields', (length) => head(Array.from({ length: length / 8 }, (_, index) => `x${index}:a\n`).join(''))],
    ['of one field again and again', (length) => head(fill('host:a\n')(length))],
    ['of cookies', (length) => head(fill('cookie:a=b\n')(length))],
    ['of protocols', (length) => head(fill('sec-websocket-protocol:a\n')(length))],
    ['of extensions', (length) => head(fill('sec-websocket-extensions:a\n')(length))],
    ['of names that begin as others', (length) => head(fill('hos:host\n')(length))],
    ['of a name inside of a value', (length) => head(`x:${fill('host')(length)}\n`)],
    ['of a name inside of a name', (length) => head(`${fill('host')(length)}:a\n`)],
    ['of colons', (length) => head(`x${fill(':')(length)}\n`)],
    ['of blanks in a value', (length) => head(`x:a${fill(' ')(length)}b\n`)],
    ['with a long key', (length) => head(`sec-websocket-version:13\nsec-websocket-key:${fill('a')(length)}==\n`)],
  ]

  test.each(heads)('%s', { timeout: 60_000 }, (_what, make) => {
    const look = (request: RequestHead) => [
      ...['host', 'origin', 'expect', 'content-length', 'cookie'].map((name) => headerOf(request, name)?.length),
      readTarget(request, 'http'),
      isWebSocketUpgrade(request),
      refusalOf(request),
      offeredProtocols(request),
      extensionOffersOf(request),
    ]
    expect(growth(make, look)).toBeLessThan(MOST)
    const target = { path: '/', search: '', url: 'http://a/' }
    const read = (request: RequestHead) => [...new IncomingRequest(request, target, {}).headers].length
    expect(growth(make, read)).toBeLessThan(MOST)
    const lines = (length: number) => `GET\n/\n192.0.2.1\n\n${make(length).fields}`
    expect(growth(lines, (text) => headerOf(requestHeadOf(text), 'host'))).toBeLessThan(MOST)
    const raw = (length: number) => make(length).fields.trim().split(/[:\n]/)
    type Incoming = Parameters<typeof headOf>[0]
    // As much of a request of Node's as is read of it.
    const portable = (rawHeaders: string[]) =>
      headerOf(
        headOf({ method: 'GET', url: '/', rawHeaders, socket: {} } as unknown as Incoming, false, { proxiedAddress: '' }),
        'host',
      )
    expect(growth(raw, portable)).toBeLessThan(MOST)
  })
})

describe('a target', () => {
  const paths: [string, (length: number) => string][] = [
    ['of slashes', fill('/')],
    ['of dot segments', fill('/..')],
    ['of encoded dot segments', fill('/%2e%2E')],
    ['of segments that are taken back', (length) => fill('/a')(length / 2) + fill('/..')(length / 2)],
    ['of needless encoding', between('/', '%61', '')],
    ['of needed encoding', between('/', '%e2', '')],
    ['of what should be encoded', between('/', '"', '')],
    ['that is wrong at its end', between('/', 'a', '\\')],
    ['that is wrong behind its encoding', between('/', '%61', '%')],
  ]
  test.each(paths)('%s', { timeout: 60_000 }, (_what, path) => {
    const target = (length: number) => head('host:a\n', path(length))
    expect(growth(target, (request) => readTarget(request, 'http'))).toBeLessThan(MOST)
    const routes = new RouteTable<number>()
    for (const [index, route] of ['/:a', '/:a/:b', '/:a/*', '/a/:b/:c', '/a/a/a/*', '/*'].entries())
      routes.add('GET', route, index)
    const normal = (length: number) => normalizePath(path(length)) ?? '/'
    const route = (text: string) => [
      routes.find('POST', text),
      routes.allowed(text),
      decodeParams(routes.find('GET', text)?.params ?? []),
    ]
    expect(growth(normal, route)).toBeLessThan(MOST)
  })

  test.each([
    ['of ampersands', fill('&')],
    ['of names', fill('a&')],
    ['of one name again and again', fill('a=b&')],
    ['of encoding', fill('%e2%')],
    ['of question marks', fill('?')],
  ])('with a query %s', { timeout: 60_000 }, (_what, query) => {
    const target = (length: number) => head('host:a\n', `/?${query(length)}`)
    const read = (request: RequestHead) => {
      const found = readTarget(request, 'http')
      return found && new IncomingRequest(request, found, {}).query.size
    }
    expect(growth(target, read)).toBeLessThan(MOST)
  })
})

describe('a name of a host', () => {
  const names: [string, (length: number) => string][] = [
    ['of one label', fill('a')],
    ['of labels', fill('a.')],
    ['of dots', fill('.')],
    ['in punycode', between('xn--', 'a', '')],
    ['in many pieces of punycode', fill('xn--a.')],
    ['beyond ASCII', (length) => Array.from({ length }, (_, index) => String.fromCharCode(0xe0 + (index % 24))).join('')],
    ['of digits', fill('1')],
    ['of colons', fill(':')],
    ['in brackets', between('[', '1:', ']')],
    ['of zeros for a port', between('a:', '0', '1')],
  ]
  const isAllowed = resolveAllowedOrigins(['https://example.com'], {})

  test.each(names)('%s', { timeout: 60_000 }, (_what, name) => {
    expect(growth(field('host', name), (request) => readTarget(request, 'http'))).toBeLessThan(MOST)
    const absolute = (length: number) => head('host:a\n', `http://${name(length)}/`)
    expect(growth(absolute, (request) => readTarget(request, 'http'))).toBeLessThan(MOST)
    expect(
      growth(
        (length) => `https://${name(length)}`,
        (origin) => isAllowed?.(origin),
      ),
    ).toBeLessThan(MOST)
  })
})

/** The most of a few measurements: something else on the machine may hide what is there. */
const shown = <T>(make: (length: number) => T, parse: (input: T) => unknown) =>
  Math.max(...Array.from({ length: ATTEMPTS }, () => growth(make, parse, 1)))

describe('the measurement', () => {
  test('would show a regular expression that looks for the end from each blank', { timeout: 60_000 }, () => {
    expect(shown(fill(' '), (text) => `${text}a`.replace(/[ \t]+$/, ''))).toBeGreaterThan(MOST)
  })

  test('would show a list that is searched for each item', { timeout: 60_000 }, () => {
    const search = (count: number) => {
      const seen: number[] = []
      for (let index = 0; index < count; index++) if (!seen.includes(index)) seen.push(index)
    }
    expect(shown((length) => length, search)).toBeGreaterThan(MOST)
  })
})
