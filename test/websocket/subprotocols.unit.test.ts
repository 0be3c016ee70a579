/** Subprotocols: what a client offers in Sec-WebSocket-Protocol, and what a handler may choose. */
import { describe, expect, test } from 'vitest'
import { chosenProtocol, offeredProtocols } from '../../src/websocket/subprotocols.js'

const offered = (value: string | undefined) =>
  offeredProtocols({
    method: 'GET',
    url: '/',
    fields: value === undefined ? '\nhost:a\n' : `\nhost:a\nsec-websocket-protocol:${value}\n`,
    hasBody: false,
    remoteAddress: '',
    proxiedAddress: '',
    endpoints: '0  0',
  })

describe('a client offers', () => {
  test.each<[value: string | undefined, expected: string[] | undefined]>([
    [undefined, []],
    ['chat', ['chat']],
    ['chat, v2.chat', ['chat', 'v2.chat']],
    ['Chat, chat', ['Chat', 'chat']],
    ['chat, chat', undefined],
    ['cha t', undefined],
    ['', undefined],
  ])('with the field %j: %j', (value, expected) => {
    expect(offered(value)).toEqual(expected)
  })
})

describe('a handler chooses', () => {
  test('one of those offered, or none', () => {
    expect(chosenProtocol('v2.chat', ['chat', 'v2.chat'])).toBe('v2.chat')
    expect(chosenProtocol(undefined, ['chat'])).toBe('')
  })

  test.each<[offered: string[], says: string]>([
    [['chat'], 'one that the client offered (chat)'],
    [[], 'left out, since the client offered none'],
  ])('nothing else, where the offer is %j', (list, says) => {
    expect(() => chosenProtocol('other', list)).toThrow(says)
  })
})
