/** What is refused before anything happens, in which words, and what stands in for what was left out. */
import { describe, expect, test } from 'vitest'
import { checkEngineName } from '../../src/engine/select.js'
import { OptionError } from '../../src/errors.js'
import { checkCloseFrame, checkPingLength, checkTopic, toPayload } from '../../src/options/arguments.js'
import { checkPath } from '../../src/options/checks.js'
import { resolveCloseOptions, resolveListenOptions, resolveServerOptions } from '../../src/options/server.js'
import { resolveMaxLifetime, resolveRoute } from '../../src/options/websocket.js'

/** The OptionError that an action throws. */
function refusal(action: () => unknown): OptionError {
  try {
    action()
  } catch (error) {
    if (error instanceof OptionError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

/** For values that TypeScript would not let through, and JavaScript does. */
const untyped = (value: unknown) => value as never

/** A wrong value, and the option that is named for it. */
type Wrong = [value: unknown, option: string]

const notObjects: readonly unknown[] = [null, 7000, 'text', [], true]
const pem = { key: 'k', cert: 'c' }

describe('server options', () => {
  test('have defaults', () => {
    expect(resolveServerOptions({})).toEqual({
      engine: undefined,
      tls: undefined,
      proxyProtocol: false,
      health: { path: '/health', live: '/health/live', check: undefined, backplane: false },
      maxConnections: Number.POSITIVE_INFINITY,
      maxConnectionsPerAddress: Number.POSITIVE_INFINITY,
      isAllowedOrigin: undefined,
      maxRequestBodySize: 1_048_576,
      requestTimeout: 300,
      backplane: undefined,
      onError: undefined,
    })
  })

  test('health can be turned off or put elsewhere', () => {
    expect(resolveServerOptions({ health: false }).health).toBeUndefined()
    expect(resolveServerOptions({ health: '/up' }).health?.path).toBe('/up')
    expect(resolveServerOptions({ health: { check: () => true } }).health?.path).toBe('/health')
    expect(resolveServerOptions({ health: {} }).health).toEqual({
      path: '/health',
      live: '/health/live',
      check: undefined,
      backplane: false,
    })
    expect(resolveServerOptions({ health: '/up/' }).health?.live).toBe('/up/live')
    expect(resolveServerOptions({ health: { live: false } }).health?.live).toBeUndefined()
    expect(resolveServerOptions({ health: { path: '/up', check: () => true } }).health?.path).toBe('/up')
  })

  test('undefined counts as left out', () => {
    expect(resolveServerOptions(untyped({ health: undefined, tls: undefined })).health?.path).toBe('/health')
  })

  test('onError is called as the method that it is', () => {
    const receivers: unknown[] = []
    const options = {
      onError(this: unknown) {
        receivers.push(this)
      },
    }
    resolveServerOptions(options).onError?.(new Error('first'))
    expect(receivers).toEqual([options])
  })

  test.each<Wrong>([
    ...notObjects.map((value): Wrong => [value, 'options']),
    [{ engine: 'fast' }, 'engine'],
    [{ health: 'health' }, 'health'],
    [{ health: true }, 'health'],
    [{ health: null }, 'health'],
    [{ health: { live: 'live' } }, 'health.live'],
    [{ health: { live: true } }, 'health.live'],
    [{ health: { check: true } }, 'health.check'],
    [{ health: { path: 'up', check() {} } }, 'health.path'],
    [{ health: { check() {}, interval: 5 } }, 'health.interval'],
    ...['maxConnections', 'maxConnectionsPerAddress'].flatMap((option) =>
      [0, -1, 1.5, '5', 2 ** 31, Number.POSITIVE_INFINITY, null].map((value): Wrong => [{ [option]: value }, option]),
    ),
    [{ maxRequestBodySize: -1 }, 'maxRequestBodySize'],
    [{ maxRequestBodySize: 2 ** 31 }, 'maxRequestBodySize'],
    [{ onError: 'log' }, 'onError'],
    [{ port: 80 }, 'port'],
    ...notObjects.map((tls): Wrong => [{ tls }, 'tls']),
    [{ tls: {} }, 'tls.key'],
    [{ tls: { key: 'k' } }, 'tls.cert'],
    [{ tls: { ...pem, keyFile: 'k.pem' } }, 'tls.key'],
    [{ tls: { ...pem, certFile: 'c.pem' } }, 'tls.cert'],
    [{ tls: { ...pem, key: 5 } }, 'tls.key'],
    [{ tls: { ...pem, key: Object.create(Uint8Array.prototype) } }, 'tls.key'],
    [{ tls: { keyFile: '', certFile: 'c.pem' } }, 'tls.keyFile'],
    [{ tls: { keyFile: 'k\0.pem', certFile: 'c.pem' } }, 'tls.keyFile'],
    [{ tls: { ...pem, passphrase: 5 } }, 'tls.passphrase'],
    [{ tls: { ...pem, ciphers: '' } }, 'tls.ciphers'],
    [{ tls: { ...pem, minVersion: 'TLSv1.1' } }, 'tls.minVersion'],
    [{ tls: { ...pem, rejectUnauthorised: true } }, 'tls.rejectUnauthorised'],
    [{ tls: { ...pem, ca: 5 } }, 'tls.ca'],
    [{ tls: { ...pem, ca: 'c', caFile: 'c.pem' } }, 'tls.ca'],
    [{ tls: { ...pem, caFile: '' } }, 'tls.caFile'],
    [{ tls: { ...pem, requestCert: 'yes' } }, 'tls.requestCert'],
    [{ tls: { ...pem, rejectUnauthorized: 1 } }, 'tls.rejectUnauthorized'],
    [{ tls: { ...pem, requestCert: true } }, 'tls.ca'],
    ...[
      '',
      '*',
      '*.',
      'a..b',
      'a.*.b',
      '**.a',
      'a*.b',
      '.a',
      'a.',
      'a b',
      'b\u00fccher.example',
      '127.0.0.1',
      '*.0.0.1',
      '::1',
      7,
      `${'a'.repeat(64)}.b`,
    ].map((serverName): Wrong => [{ tls: { ...pem, serverName } }, 'tls.serverName']),
    [{ tls: [] }, 'tls'],
    [{ tls: [pem, pem] }, 'tls[1].serverName'],
    [{ tls: [pem, null] }, 'tls[1]'],
    [{ tls: [pem, { ...pem, serverName: 'a.b', keyFile: 'k.pem' }] }, 'tls[1].key'],
    [{ tls: [pem, { ...pem, serverName: 'a.b' }, { ...pem, serverName: 'A.B' }] }, 'tls[2].serverName'],
    [
      {
        tls: [
          { ...pem, serverName: 'a.b' },
          { ...pem, serverName: 'a.b' },
        ],
      },
      'tls[1].serverName',
    ],
    [{ proxyProtocol: 1 }, 'proxyProtocol'],
    [{ requestTimeout: -1 }, 'requestTimeout'],
    [{ requestTimeout: 0.5 }, 'requestTimeout'],
    [{ requestTimeout: 2_147_484 }, 'requestTimeout'],
    [{ requestTimeout: '300' }, 'requestTimeout'],
    [{ requestTimeout: null }, 'requestTimeout'],
  ])('%j is refused for %s', (options, name) => {
    expect(refusal(() => resolveServerOptions(untyped(options)))).toMatchObject({ code: 'ERR_OPTION', option: name })
  })

  test('no error contains a key or a passphrase', () => {
    const secret = 'the secret'
    const wrong = [
      { key: secret, keyFile: 'k.pem', cert: 'c' },
      { key: secret, passphrase: secret },
      { ...pem, passphrase: [secret] },
      { ...pem, key: [secret] },
    ]
    for (const tls of wrong) {
      const error = refusal(() => resolveServerOptions(untyped({ tls })))
      expect(`${error.stack} ${JSON.stringify(error)}`).not.toContain(secret)
    }
  })

  test('an unknown name is refused with those that are known', () => {
    expect(refusal(() => resolveServerOptions(untyped({ Health: '/up' }))).message).toMatch(
      /^Health must be a known option \(engine, tls, proxyProtocol, health, .*onError\), got "Health"$/,
    )
  })
})

test('an engine is native or portable', () => {
  expect(checkEngineName('engine', 'native')).toBe('native')
  expect(checkEngineName('engine', 'portable')).toBe('portable')
  expect(refusal(() => checkEngineName('NAME', 'quick')).message).toBe("NAME must be 'native' or 'portable', got \"quick\"")
})

describe('listen options', () => {
  test('may name a unix socket instead', () => {
    expect(resolveListenOptions({ unix: '/run/app.sock' })).toEqual([{ unix: '/run/app.sock' }])
  })

  test('have defaults', () => {
    expect(resolveListenOptions({})).toEqual([{ port: 0, host: undefined, reusePort: false }])
  })

  test('may name a descriptor, or several places', () => {
    expect(resolveListenOptions([{ fd: 3 }, { unix: '/run/app.sock' }])).toEqual([{ fd: 3 }, { unix: '/run/app.sock' }])
  })

  test.each([0, 1, 443, 65_535])('port %d is one', (port) => {
    expect(resolveListenOptions({ port })).toMatchObject([{ port }])
  })

  test.each([-1, 65_536, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '80', null, true, 80n])('port %s is none', (port) => {
    const error = refusal(() => resolveListenOptions(untyped({ port })))
    expect(error).toMatchObject({ option: 'port', value: port })
    expect(error.message).toContain('an integer from 0 to 65535')
  })

  test.each<Wrong>([
    ...notObjects.map((value): Wrong => [value, 'options']),
    [{ host: '' }, 'host'],
    [{ host: 4 }, 'host'],
    [{ host: null }, 'host'],
    [{ host: 'a\0b' }, 'host'],
    [{ reusePort: 1 }, 'reusePort'],
    [{ hostname: 'localhost' }, 'hostname'],
    [{ unix: '' }, 'unix'],
    [{ unix: 'a\0b' }, 'unix'],
    [{ unix: 7 }, 'unix'],
    [{ unix: '/run/app.sock', port: 80 }, 'port'],
    [{ unix: '/run/app.sock', port: 0 }, 'port'],
    [{ unix: '/run/app.sock', host: 'localhost' }, 'host'],
    [{ unix: '/run/app.sock', reusePort: false }, 'reusePort'],
    [{ fd: 3, port: 0 }, 'port'],
    [{ fd: 3, host: 'localhost' }, 'host'],
    [{ fd: 3, reusePort: false }, 'reusePort'],
    [{ fd: 3, unix: '/run/app.sock' }, 'unix'],
    [{ fd: -1 }, 'fd'],
    [{ fd: 2 ** 31 }, 'fd'],
    [{ fd: '3' }, 'fd'],
    [[{ port: 1 }, { port: -1 }], 'port'],
    [[null], 'options'],
  ])('%j is refused for %s', (options, name) => {
    expect(refusal(() => resolveListenOptions(untyped(options))).option).toBe(name)
  })
})

describe('a WebSocket route', () => {
  test('has default limits', () => {
    const limits = { maxPayloadLength: 16_777_216, maxBackpressure: 16_777_216, idleTimeout: 120, sendPings: true }
    expect(resolveRoute({})).toEqual({
      ...limits,
      closeOnBackpressureLimit: false,
      maxFragmentLength: 65_536,
      reportDrops: false,
      textAsBytes: false,
      lendMessages: false,
      detachMessages: false,
      autoPong: true,
    })
  })

  test('pings in an interval besides before the idle timeout', () => {
    for (const interval of [0.01, 5, 86_400]) {
      expect(resolveRoute({ sendPings: { interval } })).toMatchObject({ sendPings: true, pingInterval: interval })
    }
  })

  test('takes the limits that it is given', () => {
    const numbers = { maxPayloadLength: 1, maxBackpressure: 2_147_483_647, idleTimeout: 8 }
    const limits = { ...numbers, sendPings: false, closeOnBackpressureLimit: true }
    expect(resolveRoute({ ...limits, message() {} })).toEqual({
      ...limits,
      maxFragmentLength: 65_536,
      reportDrops: true,
      textAsBytes: false,
      lendMessages: false,
      detachMessages: false,
      autoPong: true,
    })
    expect(resolveRoute({ text: 'buffer' }).textAsBytes).toBe(true)
    expect(() => resolveRoute(untyped({ text: 'bytes' }))).toThrow(expect.objectContaining({ option: 'text' }))
    expect(resolveRoute({ idleTimeout: 0 }).idleTimeout).toBe(0)
    expect(resolveRoute({ idleTimeout: 960 }).idleTimeout).toBe(960)
  })

  test('asks the engine to report dropped messages only where the route has a handler or an option for them', () => {
    expect(resolveRoute({ drain() {} }).reportDrops).toBe(false)
    expect(resolveRoute({ dropped() {} }).reportDrops).toBe(true)
  })

  test('keeps no more than half of the queue free for fragments', () => {
    for (const [maxBackpressure, length] of [
      [1, 1],
      [1001, 501],
      [131_072, 65_536],
      [131_074, 65_536],
    ]) {
      expect(resolveRoute({ maxBackpressure: maxBackpressure ?? 0 }).maxFragmentLength).toBe(length)
    }
  })

  test('may be an object of a class, with methods for handlers and fields of its own', () => {
    class Chat {
      rooms = 0
      idleTimeout = 30
      message() {}
    }
    expect(resolveRoute(new Chat()).idleTimeout).toBe(30)
  })

  test.each<Wrong>([
    ...notObjects.map((value): Wrong => [value, 'handlers']),
    [undefined, 'handlers'],
    [{ message: 'echo' }, 'message'],
    [{ error: {} }, 'error'],
    [{ onMessage() {} }, 'onMessage'],
    [{ maxPayload: 5 }, 'maxPayload'],
    [{ upgrade: {} }, 'upgrade'],
    [{ maxPayloadLength: 0 }, 'maxPayloadLength'],
    [{ maxPayloadLength: 2 ** 31 }, 'maxPayloadLength'],
    [{ maxPayloadLength: '1' }, 'maxPayloadLength'],
    [{ maxBackpressure: -1 }, 'maxBackpressure'],
    [{ maxBackpressure: 0 }, 'maxBackpressure'],
    [{ maxBackpressure: Number.POSITIVE_INFINITY }, 'maxBackpressure'],
    [{ idleTimeout: 7 }, 'idleTimeout'],
    [{ idleTimeout: 961 }, 'idleTimeout'],
    [{ idleTimeout: 8.5 }, 'idleTimeout'],
    [{ idleTimeout: -1 }, 'idleTimeout'],
    [{ idleTimeout: null }, 'idleTimeout'],
    [{ sendPings: 'yes' }, 'sendPings'],
    [{ sendPings: null }, 'sendPings'],
    [{ sendPings: 5 }, 'sendPings'],
    [{ sendPings: {} }, 'sendPings.interval'],
    [{ sendPings: { interval: 0 } }, 'sendPings.interval'],
    [{ sendPings: { interval: '5' } }, 'sendPings.interval'],
    [{ sendPings: { interval: Number.NaN } }, 'sendPings.interval'],
    [{ sendPings: { interval: 86_401 } }, 'sendPings.interval'],
    [{ sendPings: { every: 5 } }, 'sendPings.every'],
    ...notObjects.map((compression): Wrong => [{ compression }, 'compression']),
    [{ compression: { level: 9 } }, 'compression.level'],
    [{ compression: { threshold: -1 } }, 'compression.threshold'],
    [{ compression: { threshold: 0.5 } }, 'compression.threshold'],
    [{ compression: { threshold: 2 ** 31 } }, 'compression.threshold'],
    [{ compression: { threshold: null } }, 'compression.threshold'],
    ...['compressor', 'decompressor'].flatMap((option) =>
      [null, true, 32, '32', '1MB', '32kb', ['32KB'], 'toString', 'dedicated'].map(
        (size): Wrong => [{ compression: { [option]: size } }, `compression.${option}`],
      ),
    ),
    [{ closeOnBackpressureLimit: 1 }, 'closeOnBackpressureLimit'],
    ...notObjects.map((rateLimit): Wrong => [{ rateLimit }, 'rateLimit']),
    [{ rateLimit: { seconds: 1, action: 'close' } }, 'rateLimit.messages'],
    [{ rateLimit: { messages: 5, minutes: 1, action: 'close' } }, 'rateLimit.minutes'],
    ...['messages', 'bytes'].flatMap((option) =>
      [0, -1, 1.5, '5', 2 ** 31, Number.POSITIVE_INFINITY, Number.NaN, null].map(
        (value): Wrong => [{ rateLimit: { seconds: 1, action: 'pause', [option]: value } }, `rateLimit.${option}`],
      ),
    ),
    ...[0, 0.001, -1, '1', 86_401, Number.POSITIVE_INFINITY, Number.NaN, null, undefined].map(
      (seconds): Wrong => [{ rateLimit: { messages: 1, action: 'pause', seconds } }, 'rateLimit.seconds'],
    ),
    ...['wait', true, null, undefined].map(
      (action): Wrong => [{ rateLimit: { messages: 1, seconds: 1, action } }, 'rateLimit.action'],
    ),
    [{ dropped: true }, 'dropped'],
  ])('%j is refused for %s', (handlers, name) => {
    expect(refusal(() => resolveRoute(untyped(handlers))).option).toBe(name)
  })

  test('compresses nothing unless asked to, and then with one compressor for all, from 1024 bytes on', () => {
    expect(resolveRoute({ compression: false }).compression).toBeUndefined()
    expect(resolveRoute({ compression: {} }).compression).toEqual({
      compressor: { windowBits: 15, memoryLevel: 8, takeover: false },
      decompressor: { windowBits: 15, takeover: false },
      threshold: 1024,
    })
    expect(resolveRoute({ compression: { compressor: 'shared', decompressor: 'shared', threshold: 0 } }).compression).toEqual({
      compressor: { windowBits: 15, memoryLevel: 8, takeover: false },
      decompressor: { windowBits: 15, takeover: false },
      threshold: 0,
    })
  })

  test.each([
    ['3KB', 9, 1, 11],
    ['4KB', 9, 2, 12],
    ['8KB', 10, 3, 13],
    ['16KB', 11, 4, 14],
    ['32KB', 12, 5, 15],
    ['64KB', 13, 6, 15],
    ['128KB', 14, 7, 15],
    ['256KB', 15, 8, 15],
  ] as const)('%s is the memory of a compressor, and the window of a decompressor', (size, bits, memoryLevel, windowBits) => {
    const { compression } = resolveRoute({ compression: { compressor: size, decompressor: size } })
    expect(compression?.compressor).toEqual({ windowBits: bits, memoryLevel, takeover: true })
    expect(compression?.decompressor).toEqual({ windowBits, takeover: true })
    // zconf.h; a decompressor's window cannot be larger than 32 KiB.
    expect(2 ** (bits + 2) + 2 ** (memoryLevel + 9)).toBe(Number.parseInt(size, 10) * 1024)
    const largest = Math.min(Number.parseInt(size, 10), 32) * 1024
    expect(2 ** windowBits).toBeLessThanOrEqual(largest)
    expect(2 ** (windowBits + 1)).toBeGreaterThan(largest)
  })

  test('lives for ever, or for a minute to four hours', () => {
    expect(resolveMaxLifetime({})).toBe(0)
    for (const maxLifetime of [0, 60, 14_400]) expect(resolveMaxLifetime({ maxLifetime })).toBe(maxLifetime)
    for (const maxLifetime of [1, 59, 14_401, 60.5, -60, '60', null, Number.NaN]) {
      expect(refusal(() => resolveMaxLifetime(untyped({ maxLifetime })))).toMatchObject({
        option: 'maxLifetime',
        value: maxLifetime,
      })
    }
  })

  test('has no rate limit unless asked to; what such a limit leaves open is any number', () => {
    expect(resolveRoute({}).rateLimit).toBeUndefined()
    expect(resolveRoute({ rateLimit: { messages: 5, seconds: 0.5, action: 'pause' } }).rateLimit).toEqual({
      messages: 5,
      bytes: Number.POSITIVE_INFINITY,
      window: 500,
      closes: false,
    })
    expect(resolveRoute({ rateLimit: { bytes: 1000, seconds: 86_400, action: 'close' } }).rateLimit).toEqual({
      messages: Number.POSITIVE_INFINITY,
      bytes: 1000,
      window: 86_400_000,
      closes: true,
    })
  })

  test('says the value and the range', () => {
    expect(refusal(() => resolveRoute({ idleTimeout: 5 })).message).toBe(
      'idleTimeout must be 0 (never) or an integer from 8 to 960 seconds, got 5',
    )
    expect(refusal(() => resolveRoute({ maxPayloadLength: 1.5 })).message).toBe(
      'maxPayloadLength must be an integer from 1 to 2147483647 bytes, got 1.5',
    )
  })
})

describe('a path', () => {
  test.each(['/', '/a', '/a/', '/a//b', '/*', '/a/*', '/:a', '/:a/:b', '/:a/b/:c1/*', '/caf%C3%A9', '/café', '/a b', '/a.b/...'])(
    '%s is one',
    (path) => {
      expect(() => checkPath('path', path)).not.toThrow()
    },
  )

  test.each([
    '',
    'a',
    '*',
    '/a?b=1',
    '/a#b',
    '/*/a',
    '/a*',
    '/*a',
    '/:',
    '/:1',
    '/:a-b',
    '/:a/:a',
    '/.',
    '/a/../b',
    '/%2e',
    '/a\\b',
    '/%zz',
    '/\ud800',
    null,
    5,
  ])('%s is none', (path) => {
    expect(refusal(() => checkPath('path', untyped(path)))).toMatchObject({ option: 'path', value: path })
  })
})

describe('a topic', () => {
  test.each(['a', ' ', '#', '/+/', 'é'.repeat(32_767), 'x'.repeat(65_535)])('is a string of up to 65,535 bytes', (topic) => {
    expect(() => checkTopic(topic)).not.toThrow()
  })

  test.each(['', 'x'.repeat(65_536), 'é'.repeat(32_768), undefined, null, 5, ['a']])('is nothing else', (topic) => {
    expect(refusal(() => checkTopic(untyped(topic)))).toMatchObject({ option: 'topic', value: topic })
  })
})

describe('a Close frame', () => {
  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
    'may say %d',
    (code) => {
      expect(() => checkCloseFrame(code, '')).not.toThrow()
    },
  )

  test.each([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 1000.5, -1, Number.NaN, '1000', null])(
    'may not say %s',
    (code) => {
      expect(refusal(() => checkCloseFrame(untyped(code), ''))).toMatchObject({ option: 'code', value: code })
    },
  )

  test('has room for a reason of 123 bytes', () => {
    expect(() => checkCloseFrame(1000, 'é'.repeat(61))).not.toThrow()
    expect(() => checkCloseFrame(1000, 'x'.repeat(123))).not.toThrow()
    for (const reason of ['é'.repeat(62), 'x'.repeat(124), null, 5]) {
      expect(refusal(() => checkCloseFrame(1000, untyped(reason))).option).toBe('reason')
    }
  })
})

describe('close options', () => {
  test('have defaults', () => {
    expect(resolveCloseOptions({})).toEqual({ code: 1001, reason: '', timeout: 10_000, drain: 0 })
  })

  test('drain for ten seconds, or for so long', () => {
    expect(resolveCloseOptions({ drain: true }).drain).toBe(10_000)
    expect(resolveCloseOptions({ drain: false }).drain).toBe(0)
    expect(resolveCloseOptions({ drain: 5 }).drain).toBe(5)
  })

  test.each<Wrong>([
    ...notObjects.map((value): Wrong => [value, 'options']),
    [{ code: 1005 }, 'code'],
    [{ reason: 'x'.repeat(124) }, 'reason'],
    [{ timeout: -1 }, 'timeout'],
    [{ timeout: 2 ** 31 }, 'timeout'],
    [{ timeout: '5s' }, 'timeout'],
    [{ drain: -1 }, 'drain'],
    [{ drain: 2 ** 31 }, 'drain'],
    [{ drain: '5s' }, 'drain'],
    [{ drain: null }, 'drain'],
    [{ delay: 5 }, 'delay'],
  ])('%j is refused for %s', (options, name) => {
    expect(refusal(() => resolveCloseOptions(untyped(options))).option).toBe(name)
  })
})

describe('a payload', () => {
  test('is a string or a Uint8Array as it is', () => {
    const bytes = Buffer.from('bytes')
    expect(toPayload('text')).toBe('text')
    expect(toPayload(bytes)).toBe(bytes)
  })

  test('is the bytes of any other view or buffer, not copied', () => {
    const { buffer } = new Uint8Array([1, 2, 3, 4])
    for (const data of [buffer, new DataView(buffer), new Uint16Array(buffer)]) {
      const payload = toPayload(data)
      expect(payload).toEqual(new Uint8Array([1, 2, 3, 4]))
      expect(payload).toMatchObject({ buffer })
    }
    expect(toPayload(new DataView(buffer, 1, 2))).toEqual(new Uint8Array([2, 3]))
  })

  test.each([undefined, null, 5, 5n, true, {}, [1, 2], new Map(), () => 'text', Symbol('s')])('is nothing else: %s', (data) => {
    expect(refusal(() => toPayload(untyped(data))).message).toMatch(
      /^data must be a string, an ArrayBuffer or an ArrayBufferView, got/,
    )
  })

  test('is no longer than a frame can be', () => {
    const longest = 2 ** 31 - 1 - 10
    expect(toPayload(new Uint8Array(longest)).length).toBe(longest)
    expect(refusal(() => toPayload(new Uint8Array(longest + 1))).message).toMatch(/^data must be at most 2147483637 bytes, got/)
  })

  test('is not what was transferred away', () => {
    const buffer = new ArrayBuffer(8)
    const views = [new Uint8Array(buffer), new DataView(buffer), new Float64Array(buffer)]
    structuredClone(buffer, { transfer: [buffer] })
    for (const data of [buffer, ...views]) {
      expect(refusal(() => toPayload(data)).message).toMatch(/^data must be attached to its memory, got an object/)
    }
    expect(toPayload(new Uint8Array(0))).toEqual(new Uint8Array(0))
  })

  test('of a ping has at most 125 bytes', () => {
    for (const data of ['', 'x'.repeat(125), 'é'.repeat(62), new Uint8Array(125)])
      expect(() => checkPingLength(data)).not.toThrow()
    for (const data of ['x'.repeat(126), 'é'.repeat(63), new Uint8Array(126)]) {
      expect(refusal(() => checkPingLength(data)).message).toMatch(/^data must be at most 125 bytes/)
    }
  })
})
