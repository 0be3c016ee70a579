/** One class per kind of failure, one code per cause. */
import { describe, expect, test } from 'vitest'
import {
  ClosedError,
  EngineError,
  ERROR_CODES,
  ListenError,
  NotSupportedError,
  OptionError,
  TlsError,
  WebSocketServerError,
} from '../../src/errors.js'

test('every code means something', () => {
  for (const meaning of Object.values(ERROR_CODES)) expect(meaning).toMatch(/^[A-Z].*\.$/)
})

test('every error is an Error and a WebSocketServerError, with its own name, code and cause', () => {
  const cause = new Error('the cause')
  const errors = {
    OptionError: [new OptionError('port', -1, 'an integer'), 'ERR_OPTION'],
    ListenError: [new ListenError('EADDRINUSE', { host: '::', port: 80 }, { cause }), 'EADDRINUSE'],
    TlsError: [new TlsError('ERR_TLS_FILE', 'cannot read it', 'key.pem', { cause }), 'ERR_TLS_FILE'],
    EngineError: [new EngineError('no addon', { cause }), 'ERR_ENGINE_UNAVAILABLE'],
    NotSupportedError: [new NotSupportedError('a member', 'another'), 'ERR_NOT_SUPPORTED'],
    ClosedError: [new ClosedError(), 'ERR_CLOSED'],
    WebSocketServerError: [new WebSocketServerError('ERR_LISTENING', 'listens', { cause }), 'ERR_LISTENING'],
  } as const
  for (const [name, [error, code]] of Object.entries(errors)) {
    expect(error).toBeInstanceOf(Error)
    expect(error).toBeInstanceOf(WebSocketServerError)
    expect(error).toMatchObject({ name, code })
    expect(String(error)).toBe(`${name}: ${error.message}`)
    if (!['OptionError', 'ClosedError', 'NotSupportedError'].includes(name)) expect(error.cause).toBe(cause)
  }
})

describe('a system error of listening', () => {
  test.each(['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EMFILE'])('keeps its code %s', (code) => {
    const cause = new Error('the cause')
    const error = ListenError.fromSystemCode(code, { host: '127.0.0.1', port: 80 }, cause)
    expect(error).toMatchObject({ code, host: '127.0.0.1', port: 80, cause })
    expect(error.message).toContain(`127.0.0.1:80`)
    expect(error.message).toContain(code)
  })

  test.each(['EPERM', '', 'ERR_OPTION', 'toString', 'E'])('without a meaning here becomes ERR_LISTEN: %j', (code) => {
    expect(ListenError.fromSystemCode(code, { host: '::1', port: 80 }).code).toBe('ERR_LISTEN')
  })

  test('puts an IPv6 address in brackets', () => {
    expect(new ListenError('EADDRINUSE', { host: '::1', port: 80 }).message).toMatch(/^cannot listen on \[::1\]:80: /)
  })

  test('names the unix socket, and no host or port then', () => {
    const error = new ListenError('EADDRINUSE', { unix: '/run/app.sock' })
    expect(error.message).toMatch(/^cannot listen on the unix socket \/run\/app\.sock: /)
    expect(error).toMatchObject({ unix: '/run/app.sock', host: undefined, port: undefined })
  })
})

describe('the value in an OptionError is shown on one line and short', () => {
  test.each<[shown: string, value: unknown]>([
    ['"two\\nlines"', 'two\nlines'],
    [`"${'x'.repeat(60)}"…`, 'x'.repeat(100)],
    ['undefined', undefined],
    ['null', null],
    ['-0.5', -0.5],
    ['10n', 10n],
    ['Symbol(s)', Symbol('s')],
    ['a function', () => {}],
    ['an array', [1, 2]],
    ['an object (Object)', { a: 1 }],
    ['an object (Map)', new Map()],
    ['an object (Object)', Object.create(null)],
  ])('as %s', (shown, value) => {
    const error = new OptionError('option', value, 'better')
    expect(error.message).toBe(`option must be better, got ${shown}`)
    expect(error).toMatchObject({ option: 'option', value })
  })

  test('as an object where looking closer throws', () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const guarded = {
      get constructor(): never {
        throw new Error('no')
      },
    }
    for (const value of [proxy, guarded, { constructor: { name: Symbol('s') } }]) {
      expect(new OptionError('option', value, 'better').message).toBe('option must be better, got an object')
    }
  })
})
