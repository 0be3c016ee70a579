/** Which route answers a path. */
import { describe, expect, test } from 'vitest'
import { OptionError } from '../../src/errors.js'
import { ANY_METHOD, RouteTable } from '../../src/http/routes.js'

/** A table in which each pattern, given as `METHOD /path` or `/path` for every method, is its own value. */
function tableOf(...patterns: string[]): RouteTable<string> {
  const table = new RouteTable<string>()
  for (const pattern of patterns) {
    const [path = '', method = ANY_METHOD] = pattern.split(' ').reverse()
    table.add(method, path, pattern)
  }
  return table
}

describe('a path finds', () => {
  const all = ['/*', '/:any', '/chat', '/chat/:room', '/chat/lobby', '/chat/*', '/chat/:room/log', '/files/*', '/', '/a/:b/c/:d']
  test.each([
    ['/', '/'],
    ['/chat', '/chat'],
    ['/other', '/:any'],
    ['/other/', '/*'],
    ['/chat/lobby', '/chat/lobby'],
    ['/chat/kitchen', '/chat/:room'],
    ['/chat/', '/chat/*'],
    ['/chat/lobby/log', '/chat/:room/log'],
    ['/chat/lobby/none', '/chat/*'],
    ['/files/a/b/c', '/files/*'],
    ['/files/', '/files/*'],
    ['/files', '/:any'],
    ['/a/1/c/2', '/a/:b/c/:d'],
    ['/a/1/x/2', '/*'],
    ['//', '/*'],
    ['/CHAT', '/:any'],
  ])('%s the route %s, in whichever order routes were added', (path, pattern) => {
    for (const patterns of [all, [...all].reverse()]) expect(tableOf(...patterns).find('GET', path)?.value).toBe(pattern)
  })

  test.each([
    ['/chat', '/chat/'],
    ['/chat/', '/chat'],
    ['/chat/:room', '/chat/'],
    ['/chat/:room', '/chat/a/b'],
    ['/chat/*', '/chat'],
    ['/', '/a'],
    ['/:a', '/'],
    ['/*', '*'],
    ['/*', ''],
    ['/constructor', '/__proto__'],
  ])('nothing: %s does not serve %s', (pattern, path) => {
    expect(tableOf(pattern).find('GET', path)).toBeUndefined()
  })
})

test('parameters come by name, still percent-encoded, in the order of the path', () => {
  const table = tableOf('/a/:first/b/:second/*')
  expect(table.find('GET', '/a/1%2F2/b/%C3%A9/rest/of/it')?.params).toEqual([
    ['first', '1%2F2'],
    ['second', '%C3%A9'],
  ])
})

test('a literal segment may be written as it is read, or as it is sent', () => {
  const table = tableOf('/café/[id]/%7Ea')
  table.add('GET', '/a b', 'spaced')
  expect(table.find('GET', '/caf%C3%A9/%5Bid%5D/~a')?.value).toBe('/café/[id]/%7Ea')
  expect(table.find('GET', '/a%20b')?.value).toBe('spaced')
  expect(table.addUnlessTaken(ANY_METHOD, '/caf%c3%a9/[id]/~a', 'second')).toBe(false)
})

test('a percent-encoded asterisk or colon is a literal', () => {
  const table = tableOf('/%2A', '/a/%3Ab')
  expect(table.find('GET', '/x')).toBeUndefined()
  expect(table.find('GET', '/*')?.value).toBe('/%2A')
  expect(table.find('GET', '/a/%3Ab')?.value).toBe('/a/%3Ab')
})

test('routes in the same place keep the names of their own parameters', () => {
  const table = tableOf('GET /:here', 'POST /:there')
  expect(table.find('GET', '/x')?.params).toEqual([['here', 'x']])
  expect(table.find('POST', '/x')?.params).toEqual([['there', 'x']])
})

describe('methods', () => {
  test('a route for the method is preferred to one for every method on the same path', () => {
    const table = tableOf('/x', 'GET /x')
    expect(table.find('GET', '/x')?.value).toBe('GET /x')
    expect(table.find('POST', '/x')?.value).toBe('/x')
  })

  test('a better path is preferred to a better method', () => {
    expect(tableOf('/x', 'GET /*').find('GET', '/x')?.value).toBe('/x')
  })

  test('a path without the method falls back to the next best path', () => {
    expect(tableOf('GET /x', '/*').find('POST', '/x')?.value).toBe('/*')
  })

  test('HEAD is served by GET, unless it has a route of its own', () => {
    expect(tableOf('GET /x', '/x').find('HEAD', '/x')?.value).toBe('GET /x')
    expect(tableOf('GET /x', 'HEAD /x').find('HEAD', '/x')?.value).toBe('HEAD /x')
  })

  test('a path that only has other methods says which', () => {
    const table = tableOf('GET /x', 'POST /:y', 'PUT /z')
    expect(table.find('DELETE', '/x')).toBeUndefined()
    expect(table.allowed('/x')).toEqual(['GET', 'HEAD', 'POST', 'OPTIONS'])
    expect(table.allowed('/x/y')).toEqual([])
  })
})

test('a second route for the same method and path is refused', () => {
  const table = tableOf('GET /a/:b', '/a/*')
  expect(() => table.add('GET', '/a/:c', 'second')).toThrow(OptionError)
  expect(() => table.add(ANY_METHOD, '/a/*', 'second')).toThrow('path must be registered only once for every method, got "/a/*"')
  expect(table.addUnlessTaken('GET', '/a/:c', 'second')).toBe(false)
  expect(table.addUnlessTaken('POST', '/a/:c', 'second')).toBe(true)
  expect(table.find('GET', '/a/1')?.value).toBe('GET /a/:b')
})

test('a path of a hundred thousand segments is no problem', () => {
  expect(tableOf('/a/:b', '/*').find('GET', '/a'.repeat(100_000))?.value).toBe('/*')
})

test('all values can be replaced, each with its method and pattern at hand', () => {
  const patterns = ['GET /', 'GET /a/:first/b/:second', 'POST /a/:other/b/:second', '/files/*', 'PUT /a/:first/*', 'GET /a']
  const table = tableOf(...patterns)
  const seen: string[] = []
  table.replaceAll((method, path, value) => {
    seen.push(`${method} ${path}`)
    return `${value}!`
  })
  expect(seen.sort()).toEqual(patterns.map((pattern) => (pattern.startsWith('/') ? `* ${pattern}` : pattern)).sort())
  expect(table.find('POST', '/a/1/b/2')).toMatchObject({
    value: 'POST /a/:other/b/:second!',
    params: [
      ['other', '1'],
      ['second', '2'],
    ],
  })
})
