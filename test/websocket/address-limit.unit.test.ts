/** `maxConnectionsPerAddress`: which addresses count as one, and who has a place. */
import { expect, test } from 'vitest'
import { AddressLimit, addressGroup } from '../../src/websocket/address-limit.js'

test.each<[addresses: readonly string[], group: string]>([
  [['192.0.2.7', '::ffff:192.0.2.7', '::FFFF:c000:207', '0:0:0:0:0:ffff:192.0.2.7', '::ffff:192.0.2.7%eth0'], '192.0.2.7'],
  [['2001:db8:1:2::', '2001:db8:1:2::abc', '2001:0DB8:0001:0002:ffff:ffff:ffff:ffff'], '2001:db8:1:2::/64'],
  [['2001:db8::1', '2001:db8::ffff:ffff:ffff:ffff', '2001:db8:0:0:1:2:3:4'], '2001:db8:0:0::/64'],
  [['2001:db8:0:1::', '2001:db8:0:1:2::'], '2001:db8:0:1::/64'],
  [['::', '::1', '::192.0.2.7', '::fffe:192.0.2.7', '0:0:0:0:1::'], '0:0:0:0::/64'],
  [['fe80::1', 'fe80::2%eth0', 'fe80::3%25'], 'fe80:0:0:0::/64'],
  [['1:2:3:4:5:6:7:8', '1:2:3:4::8', '1:2:3:4:5:6:7::'], '1:2:3:4::/64'],
])('%j count as %s', (addresses, group) => {
  expect(addresses.map(addressGroup)).toEqual(addresses.map(() => group))
})

test('a holder gives back exactly the place that it took, once', () => {
  const limit = new AddressLimit<string>(2, false)
  limit.leave('nobody')
  limit.enter('a', '192.0.2.1')
  limit.enter('b', '192.0.2.1')
  limit.enter('c', '192.0.2.2')
  expect(limit.hasRoom('192.0.2.1')).toBe(false)
  expect(limit.hasRoom('192.0.2.2')).toBe(true)
  limit.leave('a')
  limit.leave('a')
  expect(limit.hasRoom('192.0.2.1')).toBe(true)
  limit.enter('d', '192.0.2.1')
  expect(limit.hasRoom('192.0.2.1')).toBe(false)
  for (const holder of ['b', 'c', 'd']) limit.leave(holder)
  for (const holder of ['e', 'f']) {
    expect(limit.hasRoom('192.0.2.1')).toBe(true)
    limit.enter(holder, '192.0.2.1')
  }
  expect(limit.hasRoom('192.0.2.1')).toBe(false)
})

test('where there is no address there is no limit', () => {
  const direct = new AddressLimit<string>(1, false)
  const proxied = new AddressLimit<string>(1, true)
  const head = { method: 'GET', url: '/', fields: '', hasBody: false, remoteAddress: '', endpoints: '0  0', proxiedAddress: '' }
  expect(direct.groupOf({ ...head, proxiedAddress: '192.0.2.7' })).toBeUndefined()
  expect(proxied.groupOf({ ...head, remoteAddress: '127.0.0.1' })).toBeUndefined()
  expect(proxied.groupOf({ ...head, remoteAddress: '127.0.0.1', proxiedAddress: '192.0.2.7' })).toBe('192.0.2.7')
  direct.enter('a', undefined)
  direct.enter('b', undefined)
  expect(direct.hasRoom(undefined)).toBe(true)
})
