/** The order in which several addresses of one `listen` are bound. */
import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { listenOn } from '../../src/core/listen.js'
import type { ListenAddress } from '../../src/engine/contract.js'
import { ListenError } from '../../src/errors.js'

test('a descriptor is bound last, and so survives the second try without IPv6; results keep the order that was asked for', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, resolve))
  onTestFinished(() => void server.close())
  // Node has no public way to a server's descriptor.
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  const bound: ListenAddress[][] = []
  const results = await listenOn([{ fd }, { port: 0, host: undefined, reusePort: false }], async (addresses) => {
    bound.push([...addresses])
    const ipv6 = addresses.find((address) => 'host' in address && address.host === '::')
    if (ipv6 !== undefined) throw ListenError.fromSystemCode('EAFNOSUPPORT', ipv6, undefined)
    return addresses.map((address) => ('fd' in address ? { port: 5, host: '127.0.0.1' } : { port: 6, host: '' }))
  })
  expect(
    bound.map((addresses) => addresses.map((address) => ('fd' in address ? 'fd' : 'host' in address ? address.host : ''))),
  ).toEqual([
    ['::', 'fd'],
    ['0.0.0.0', 'fd'],
  ])
  expect(results).toEqual([
    { fd, port: 5, host: '127.0.0.1' },
    { port: 6, host: '0.0.0.0' },
  ])
})
