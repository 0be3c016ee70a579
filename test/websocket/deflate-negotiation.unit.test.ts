/** What is agreed on about permessage-deflate: RFC 7692, section 7.1, and what makes an offer unusable. */
import { describe, expect, test } from 'vitest'
import type { CompressionSettings, RequestHead } from '../../src/engine/contract.js'
import { agreeOnCompression, extensionOffersOf } from '../../src/websocket/deflate-negotiation.js'

const head = (...values: string[]): RequestHead => ({
  method: 'GET',
  url: '/',
  fields: ['', ...values.map((value) => `sec-websocket-extensions:${value}`), ''].join('\n'),
  hasBody: false,
  remoteAddress: '',
  endpoints: '0  0',
  proxiedAddress: '',
})

const SHARED = { windowBits: 15, takeover: false }
const settings = (compressorBits: number | 'shared', decompressorBits: number | 'shared'): CompressionSettings => ({
  compressor: { ...(compressorBits === 'shared' ? SHARED : { windowBits: compressorBits, takeover: true }), memoryLevel: 8 },
  decompressor: decompressorBits === 'shared' ? SHARED : { windowBits: decompressorBits, takeover: true },
  threshold: 1024,
})

function agreed(offer: string, compression: CompressionSettings): string | undefined {
  return agreeOnCompression(extensionOffersOf(head(offer)) ?? [], compression)?.extension
}

describe('a list of extensions (Sec-WebSocket-Extensions)', () => {
  test.each<[header: string, names: readonly string[]]>([
    ['', []],
    [' , ,', []],
    ['a', ['a']],
    ['a, b;c , d ; e=1; f="2"', ['a', 'b', 'd']],
    ['Permessage-Deflate', ['permessage-deflate']],
    ['a; b="\\c"', ['a']],
  ])('%j is one', (header, names) => {
    expect(extensionOffersOf(head(header))?.map(({ name }) => name)).toEqual(names)
  })

  test('has parameters with values, quoted or not, or without', () => {
    expect(extensionOffersOf(head('a; B=1;c="2" ; d'))).toEqual([
      {
        name: 'a',
        parameters: [
          ['b', '1'],
          ['c', '2'],
          ['d', true],
        ],
      },
    ])
  })

  test('may be spread over several fields', () => {
    expect(extensionOffersOf(head('a', 'b, c'))?.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
    expect(extensionOffersOf(head())).toEqual([])
  })

  test.each([
    ';',
    'a;',
    'a;;b',
    'a; =1',
    'a; b=',
    'a; b=""',
    'a; b="1',
    'a; b=1 2',
    'a b',
    'a=1',
    'a; b="1 2"',
    'é',
    'a; b="1;2"',
  ])('%j is none', (header) => {
    expect(extensionOffersOf(head(header))).toBeUndefined()
  })

  test('of 16 KiB is judged at once', () => {
    expect(extensionOffersOf(head('a;'.repeat(8000)))).toBeUndefined()
    expect(extensionOffersOf(head(`${'a; '.repeat(5000)}=`))).toBeUndefined()
  })
})

describe('the agreement on permessage-deflate', () => {
  test.each<[offer: string, compressor: number | 'shared', decompressor: number | 'shared', agreed: string]>([
    ['', 'shared', 'shared', 'server_no_context_takeover; client_no_context_takeover'],
    ['client_max_window_bits', 'shared', 'shared', 'server_no_context_takeover; client_no_context_takeover'],
    ['client_max_window_bits=10', 'shared', 'shared', 'server_no_context_takeover; client_no_context_takeover'],
    [
      'server_max_window_bits=10',
      'shared',
      'shared',
      'server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10',
    ],
    ['', 15, 15, ''],
    ['client_max_window_bits', 15, 15, ''],
    ['client_max_window_bits=15', 15, 15, ''],
    ['client_max_window_bits=9', 15, 15, 'client_max_window_bits=9'],
    ['client_max_window_bits=8', 15, 12, 'client_max_window_bits=8'],
    ['client_max_window_bits=14', 15, 12, 'client_max_window_bits=12'],
    ['client_max_window_bits', 15, 12, 'client_max_window_bits=12'],
    ['', 15, 12, 'client_no_context_takeover'], // it could not be told to use a smaller window
    ['client_no_context_takeover; client_max_window_bits=10', 15, 15, 'client_no_context_takeover'],
    ['server_no_context_takeover', 15, 15, 'server_no_context_takeover'],
    ['server_max_window_bits=15', 15, 15, 'server_max_window_bits=15'],
    ['server_max_window_bits=8', 15, 15, 'server_max_window_bits=8'],
    ['server_max_window_bits=14', 12, 15, 'server_max_window_bits=12'],
    ['server_max_window_bits="11"', 12, 15, 'server_max_window_bits=11'],
    ['', 9, 15, 'server_max_window_bits=9'],
    [
      'server_no_context_takeover; server_max_window_bits=8',
      13,
      'shared',
      'server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8',
    ],
  ])('%j with a compressor of %s and a decompressor of %s', (offer, compressor, decompressor, expected) => {
    const parameters = offer === '' ? '' : `; ${offer}`
    const result = agreed(`permessage-deflate${parameters}`, settings(compressor, decompressor))
    expect(result).toBe(expected === '' ? 'permessage-deflate' : `permessage-deflate; ${expected}`)
  })

  test('is such that, as an offer, it can be answered by nothing but itself', () => {
    for (const offer of ['', '; client_max_window_bits', '; server_max_window_bits=9; client_max_window_bits=10']) {
      for (const compression of [settings('shared', 'shared'), settings(15, 15), settings(10, 11)]) {
        const first = agreed(`permessage-deflate${offer}`, compression)
        expect(agreed(first ?? '', settings(15, 15))).toBe(first)
      }
    }
  })

  test.each([
    'server_max_window_bits',
    'server_max_window_bits=7',
    'server_max_window_bits=16',
    'server_max_window_bits=08',
    'server_max_window_bits=1e1',
    'client_max_window_bits=0',
    'client_max_window_bits=true',
    'server_no_context_takeover=1',
    'client_no_context_takeover=true',
    'client_no_context_takeover; client_no_context_takeover',
    'server_max_window_bits=10; server_max_window_bits=10',
    'no_context_takeover',
    'constructor',
    '__proto__',
  ])('is nothing, when the only offer has %s', (parameters) => {
    expect(agreed(`permessage-deflate; ${parameters}`, settings('shared', 'shared'))).toBeUndefined()
    expect(agreed(`permessage-deflate; ${parameters}, permessage-deflate`, settings(15, 15))).toBe('permessage-deflate')
  })
})
