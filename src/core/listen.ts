/** Turns the options of `listen` into the addresses that an engine is given. */
import { lookup } from 'node:dns/promises'
import { fstatSync } from 'node:fs'
import { isIP } from 'node:net'
import type { BoundAddress, ListenAddress } from '../engine/contract.js'
import { ListenError } from '../errors.js'
import type { ResolvedListenOptions } from '../options/server.js'
import type { ListenResult } from '../types/index.js'

/** All addresses: IPv6 and IPv4 where there are both, else IPv4. */
const EVERY_ADDRESS = '::'
const EVERY_IPV4_ADDRESS = '0.0.0.0'

/**
 * Listens on all of them or none. `bind` gives where the system says that each listens, and rejects with
 * ListenError; after a rejection `bind` may be called again.
 */
export async function listenOn(
  places: readonly ResolvedListenOptions[],
  bind: (addresses: readonly ListenAddress[]) => Promise<readonly BoundAddress[]>,
): Promise<ListenResult[]> {
  const addresses: ListenAddress[] = []
  // One after the other: the error is that of the first that cannot be had.
  for (const place of places) {
    const address = addressOf(place)
    // Where no name is to be resolved nothing is waited for: the port is taken before `listen` returns.
    addresses.push(address instanceof Promise ? await address : address)
  }
  try {
    return resultsOf(addresses, await bindInOrder(addresses, bind))
  } catch (error) {
    // IPv6 is off in the kernel, or no interface has an IPv6 address.
    const hasNoIpv6 = error instanceof ListenError && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')
    if (!hasNoIpv6 || error.host !== EVERY_ADDRESS) throw error
    const withoutIpv6 = addresses.map((address, index) =>
      isEvery(places[index]) ? { ...address, host: EVERY_IPV4_ADDRESS } : address,
    )
    return resultsOf(withoutIpv6, await bindInOrder(withoutIpv6, bind))
  }
}

/** Descriptors come last: `bind` closes those that it has taken when another address cannot be had. */
async function bindInOrder(
  addresses: readonly ListenAddress[],
  bind: (addresses: readonly ListenAddress[]) => Promise<readonly BoundAddress[]>,
): Promise<readonly (BoundAddress | undefined)[]> {
  const ordered = [...addresses.filter((address) => !('fd' in address)), ...addresses.filter((address) => 'fd' in address)]
  const bound = await bind(ordered)
  return addresses.map((address) => bound[ordered.indexOf(address)])
}

function resultsOf(addresses: readonly ListenAddress[], bound: readonly (BoundAddress | undefined)[]): ListenResult[] {
  return addresses.map((address, index) => {
    const { host = '', port = 0 } = bound[index] ?? {}
    if ('unix' in address) return { unix: address.unix }
    if ('fd' in address) return host === '' ? { fd: address.fd } : { fd: address.fd, port, host }
    return { port, host: address.host }
  })
}

function isEvery(place: ResolvedListenOptions | undefined): boolean {
  return place !== undefined && 'port' in place && place.host === undefined
}

function addressOf(place: ResolvedListenOptions): ListenAddress | Promise<ListenAddress> {
  if ('unix' in place) return place
  if ('fd' in place) {
    checkDescriptor(place.fd)
    return place
  }
  const { port, host, reusePort } = place
  if (host === undefined || isIP(host)) return { host: host ?? EVERY_ADDRESS, port, reusePort }
  return resolveHost(host, port).then((resolved) => ({ host: resolved, port, reusePort }))
}

/** Whether it can accept connections, engines find out. */
function checkDescriptor(fd: number): void {
  let isSocket: boolean
  try {
    isSocket = fstatSync(fd).isSocket()
  } catch (error) {
    throw ListenError.fromSystemCode(codeOf(error), { fd }, error)
  }
  if (!isSocket) throw new ListenError('ENOTSOCK', { fd })
}

/**
 * The numeric address of a host. Only a name without an address is ENOTFOUND: a resolver that cannot be asked
 * gives its own code.
 */
async function resolveHost(host: string, port: number): Promise<string> {
  try {
    return (await lookup(host)).address
  } catch (error) {
    throw ListenError.fromSystemCode(codeOf(error), { host, port }, error)
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
