/** Which origins a list allows, and what a list may contain. */
import { describe, expect, test } from 'vitest'
import { OptionError } from '../../src/errors.js'
import { resolveAllowedOrigins } from '../../src/options/origins.js'

/** For values that TypeScript would not let through, and JavaScript does. */
const untyped = (value: unknown) => value as never

describe('a list of origins', () => {
  const isAllowed = resolveAllowedOrigins(
    [
      'https://Example.com',
      'http://localhost:5173',
      'https://shop.example:443',
      'https://münchen.example',
      'app://desktop',
      'http://[::1]:80',
    ],
    {},
  )

  test.each([
    'https://example.com',
    'HTTPS://EXAMPLE.COM',
    'https://example.com:443',
    'http://localhost:5173',
    'https://shop.example',
    'https://xn--mnchen-3ya.example',
    'app://desktop',
    'http://[::1]',
  ])('allows %s', (origin) => {
    expect(isAllowed?.(origin)).toBe(true)
  })

  test.each([
    undefined,
    '',
    'null',
    'https://example.com.evil.example',
    'https://evil.example',
    'https://www.example.com',
    'http://example.com',
    'https://example.com:8443',
    'http://localhost',
    'http://localhost:51730',
    'app://desktop:443',
    'https://example.com/',
    'https://example.com, https://example.com',
    'https://evil.example?https://example.com',
    'https://user@example.com',
    'example.com',
  ])('does not allow %s', (origin) => {
    expect(isAllowed?.(origin)).toBe(false)
  })

  test('may be empty: no origin is allowed', () => {
    expect(resolveAllowedOrigins([], {})?.('https://example.com')).toBe(false)
  })

  test('may name null, for pages that have no origin to tell of', () => {
    const check = resolveAllowedOrigins(['null'], {})
    expect([check?.('null'), check?.(undefined), check?.('https://example.com')]).toEqual([true, false, false])
  })

  test('is taken as it was given', () => {
    const list = ['https://example.com']
    const check = resolveAllowedOrigins(list, {})
    list.push('https://evil.example')
    expect(check?.('https://evil.example')).toBe(false)
  })

  test.each([
    '*',
    '',
    'example.com',
    'https://',
    'https://example.com/',
    'https://example.com/path',
    'https://example.com?a',
    'https://*.example.com:x',
    'https://user@example.com',
    'https://a b',
    '//example.com',
    5,
    null,
    undefined,
    /example/,
  ])('cannot contain %s', (entry) => {
    const refused = () => resolveAllowedOrigins(untyped(['https://example.com', entry]), {})
    expect(refused).toThrow(OptionError)
    expect(refused).toThrow(expect.objectContaining({ option: 'allowedOrigins', value: entry }))
  })

  test.each(['https://example.com', null, true, {}, 5])('is no %s', (list) => {
    expect(() => resolveAllowedOrigins(untyped(list), {})).toThrow(expect.objectContaining({ option: 'allowedOrigins' }))
  })
})

describe('a function', () => {
  test('decides, with the header as sent, as the method that it is', () => {
    const asked: unknown[] = []
    const options = {
      allowedOrigins(this: unknown, origin: string | undefined) {
        asked.push([this === options, origin])
        return origin === undefined
      },
    }
    const check = resolveAllowedOrigins(options.allowedOrigins, options)
    expect([check?.(undefined), check?.('https://Example.com')]).toEqual([true, false])
    expect(asked).toEqual([
      [true, undefined],
      [true, 'https://Example.com'],
    ])
  })

  test.each([undefined, 1, 'yes', Promise.resolve(true), null])('must not answer %s', (answer) => {
    const check = resolveAllowedOrigins(
      untyped(() => answer),
      {},
    )
    expect(() => check?.('https://example.com')).toThrow(/^allowedOrigins must return true or false, got/)
  })
})

test('without the option there is no check', () => {
  expect(resolveAllowedOrigins(undefined, {})).toBeUndefined()
})
