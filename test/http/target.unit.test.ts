/** What a request is for, from its target and its Host. */
import { describe, expect, test } from 'vitest'
import type { RequestHead } from '../../src/engine/contract.js'
import { normalizePath, normalizeSegment, readTarget } from '../../src/http/target.js'

const head = (url: string, hosts: readonly string[] = ['example.com'], method = 'GET'): RequestHead => ({
  method,
  url,
  fields: `\n${hosts.map((host) => `host:${host}\n`).join('')}`,
  hasBody: false,
  remoteAddress: '192.0.2.1',
  endpoints: '50000 198.51.100.1 443',
  proxiedAddress: '',
})

describe('the target', () => {
  test.each([
    ['/', '/', '', 'http://example.com/'],
    ['/a/b?c=d&e', '/a/b', '?c=d&e', 'http://example.com/a/b?c=d&e'],
    ['/a?b?c', '/a', '?b?c', 'http://example.com/a?b?c'],
    ['/a?', '/a', '?', 'http://example.com/a?'],
    ['/a?b\\c"d|e%', '/a', '?b\\c"d|e%', 'http://example.com/a?b\\c"d|e%'],
    ['//evil.example/x', '//evil.example/x', '', 'http://example.com//evil.example/x'],
    ['/http://evil.example/x', '/http://evil.example/x', '', 'http://example.com/http://evil.example/x'],
    ['/.//evil.example', '//evil.example', '', 'http://example.com//evil.example'],
    ['/a/../b/./c', '/b/c', '', 'http://example.com/b/c'],
    ['/a/%2e%2E/b', '/b', '', 'http://example.com/b'],
    ['http://other.example', '/', '', 'http://other.example/'],
    ['HTTPS://other.example:8080/a?b', '/a', '?b', 'http://other.example:8080/a?b'],
    ['http://other.example?b', '/', '?b', 'http://other.example/?b'],
    ['http://other.example/a/../%61', '/a', '', 'http://other.example/a'],
  ])('%s has the path %s', (url, path, search, whole) => {
    expect(readTarget(head(url), 'http')).toEqual({ path, search, url: whole })
  })

  test('* is one for OPTIONS alone, and no path', () => {
    expect(readTarget(head('*', ['a'], 'OPTIONS'), 'http')?.path).toBe('*')
    expect(readTarget(head('*'), 'http')).toBeUndefined()
  })

  test.each([
    '',
    'a',
    '*a',
    'example.com:80',
    'ftp://example.com/',
    'ws://example.com/',
    'http:/a',
    'http:///a',
    'http://?a',
    'http://user@example.com/a',
    'http://a\\@example.com/',
    'http://example.com:99999/',
    'http://example.com\\a',
    '\\\\evil.example',
    '/\\evil.example',
    '/a\\..\\b',
    '/a#b',
    '/a?b#c',
    'http://example.com#a',
    '/%',
    '/%4',
    '/%zz',
    '/a\tb',
    '/a\0',
    '/a?b\tc',
    '/\x7f',
    '/caf\xe9',
    '/a?caf\xe9',
    '?a',
  ])('%j is none', (url) => {
    expect(readTarget(head(url), 'http')).toBeUndefined()
  })

  test('of CONNECT is for proxies', () => {
    expect(readTarget(head('/', ['a'], 'CONNECT'), 'http')).toBeUndefined()
    expect(readTarget(head('a:80', ['a'], 'CONNECT'), 'http')).toBeUndefined()
  })
})

describe('the Host', () => {
  test.each([
    ['example.com', 'example.com'],
    ['example.com:8080', 'example.com:8080'],
    ['EXAMPLE.com.', 'example.com.'],
    ['example.com:', 'example.com'],
    ['xn--caf-dma.example', 'xn--caf-dma.example'],
    ['under_score', 'under_score'],
    ["a!b$c&d'e(f)g*h+i;j=k~l", "a!b$c&d'e(f)g*h+i;j=k~l"],
    ['192.0.2.1:80', '192.0.2.1'],
    ['[::1]:7000', '[::1]:7000'],
    ['[2001:DB8::0.0.0.1]', '[2001:db8::1]'],
    ['a'.repeat(255), 'a'.repeat(255)],
    ['', 'localhost'],
  ])('%s is right, and the URL has %s', (host, expected) => {
    const target = readTarget(head('/a', [host]), 'http')
    expect(target?.path).toBe('/a')
    expect(new URL(target?.url ?? '')).toMatchObject({ host: expected, pathname: '/a', username: '', search: '', hash: '' })
  })

  test('that is not there leaves the URL to localhost', () => {
    expect(readTarget(head('/a', []), 'https')?.url).toBe('https://localhost/a')
  })

  test.each([
    ['a', 'b'],
    ['a', 'a'],
    ['a', ''],
    ['', ''],
    ['a b'],
    ['a\tb'],
    ['a,b'],
    ['a/admin?'],
    ['a/admin#'],
    ['a/'],
    ['a?'],
    ['a#'],
    ['a\\admin'],
    ['user@a'],
    ['user:pass@a'],
    ['http://a'],
    ['//a'],
    [':80'],
    ['a:b'],
    ['a:80:80'],
    ['a:-1'],
    ['a:65536'],
    ['a:99999999999999999999'],
    ['[::1'],
    ['::1'],
    ['[]'],
    ['[:::]'],
    ['[::1]a'],
    ['[fe80::1%25eth0]'],
    ['[v1.a]'],
    ['[192.0.2.1]'],
    ['a%2fadmin'],
    ['%61'],
    ['caf\xe9'],
    ['a\0'],
    ['a<b>'],
    ['a|b'],
    ['a^b'],
    ['a"b'],
    ['256.256.256.256'],
    ['a'.repeat(300)],
  ])('%j is none, with any form of target', (...hosts) => {
    for (const url of ['/', 'http://example.com/']) expect(readTarget(head(url, hosts), 'http')).toBeUndefined()
    expect(readTarget(head('*', hosts, 'OPTIONS'), 'http')).toBeUndefined()
  })
})

describe('a path', () => {
  test.each([
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/%61%7e%7E%2D', '/a~~-'],
    ['/%21%27%28%29%2a', "/!'()*"],
    ['/a%2fb%3fc%23d%40', '/a%2Fb%3Fc%23d%40'],
    ['/a%5c%5C', '/a%5C%5C'],
    ['/a%25%32%35', '/a%2525'],
    ['/"<>[]^`{|}', '/%22%3C%3E%5B%5D%5E%60%7B%7C%7D'],
    ['/a/.b/..c/.../d.', '/a/.b/..c/.../d.'],
    ['/a/b/..', '/a/'],
    ['/../../a', '/a'],
    ['/%2e/%2E%2e/.%2e/a', '/a'],
    ['//', '//'],
    ['/%00%0d%0a', '/%00%0D%0A'],
  ])('%s becomes %s, as it is in a URL, and stays so', (path, normal) => {
    expect(normalizePath(path)).toBe(normal)
    expect(normalizePath(normal)).toBe(normal)
    expect(new URL(`http://a${normal}`).pathname).toBe(normal)
  })

  test('of a route may be written as it is read', () => {
    expect(['café', 'a b', 'caf%c3%a9', '[id]', '%61', '', 'a.b', '😀'].map(normalizeSegment)).toEqual([
      'caf%C3%A9',
      'a%20b',
      'caf%C3%A9',
      '%5Bid%5D',
      'a',
      '',
      'a.b',
      '%F0%9F%98%80',
    ])
    for (const segment of ['.', '..', '%2e', '%2E.', 'a\\b', '%', '%g0', '\ud800'])
      expect(normalizeSegment(segment)).toBeUndefined()
  })
})
