// Heads of all the size there is, made to take long to read: lists, blanks, many fields, and targets of every
// shape.
import { Buffer } from 'node:buffer'
import { request } from '../../fuzz/wire.mjs'
import { http } from '../limits.mjs'

const LENGTH = 15_000
const upgrade = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
]
const repeated = (part) => part.repeat(LENGTH / part.length)
const heads = [
  ...[' ', ' \t', ',', 'a,', 'a ,', '\t,'].flatMap((part) => [
    request('GET', '/echo', [...upgrade, `Sec-WebSocket-Protocol: a${repeated(part)}b`]),
    request('GET', '/deflate', [...upgrade, `Sec-WebSocket-Extensions: permessage-deflate${repeated(part)}`]),
    request('GET', '/small', [`Connection: ${repeated(part)}x`]),
    request('GET', '/small', [`Accept-Encoding: ${repeated(part)}x`]),
  ]),
  request('GET', '/deflate', [...upgrade, `Sec-WebSocket-Extensions: ${repeated('permessage-deflate;client_max_window_bits,')}`]),
  request('GET', '/deflate', [...upgrade, `Sec-WebSocket-Extensions: permessage-deflate;a="${repeated('\\\\')}"`]),
  request('GET', `/small?${repeated('a=1&')}`),
  ...['/', '/.', '/..', '%2e/', '%', '%2F', '\\', '//'].map((part) => request('GET', `/${repeated(part)}`)),
  request('GET', '/small', Array(90).fill(`X: ${'y'.repeat(150)}`)),
  request('GET', '/small', [`Cookie: ${repeated('a=b; ')}`]),
]

export default {
  name: 'long heads',
  connections: 6,
  memory: http(),
  async attack(attempt) {
    const { random } = attempt
    const connection = await attempt.connect()
    if (connection === undefined) return
    connection.discard()
    const head = random.pick(heads)
    const block = random.chance(0.5) ? head : Buffer.concat(Array(20).fill(head))
    await attempt.repeat(connection, 1000, () => connection.write(block))
  },
}
