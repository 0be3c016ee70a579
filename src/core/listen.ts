/** Turns the options of `listen` into the addresses that an engine is given. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { ListenAddress } from '../engine/contract.js'
import { ListenError } from '../errors.js'
import type { ResolvedListenOptions } from '../options/server.js'
import type { ListenResult } from '../types/index.js'

/** All addresses: IPv6 and IPv4 where there are both, else IPv4. */
const EVERY_ADDRESS = '::'
const EVERY_IPV4_ADDRESS = '0.0.0.0'

/** `bind` gives the port, and rejects with ListenError; after a rejection `bind` may be called again. */
export async function listenOn(
  where: ResolvedListenOptions,
  bind: (address: ListenAddress) => Promise<number>,
): Promise<ListenResult> {
  if ('unix' in where) {
    await bind(where)
    return where
  }
  const { port, host, reusePort } = where
  const bindTo = async (address: string) => ({ port: await bind({ host: address, port, reusePort }), host: address })
  if (host !== undefined) return await bindTo(await resolveHost(host, port))
  try {
    return await bindTo(EVERY_ADDRESS)
  } catch (error) {
    // IPv6 is off in the kernel, or no interface has an IPv6 address.
    const hasNoIpv6 = error instanceof ListenError && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')
    if (!hasNoIpv6) throw error
    return await bindTo(EVERY_IPV4_ADDRESS)
  }
}

/**
 * The numeric address of a host. Only a name without an address is ENOTFOUND: a resolver that cannot be asked
 * gives its own code.
 */
async function resolveHost(host: string, port: number): Promise<string> {
  if (isIP(host)) return host
  try {
    return (await lookup(host)).address
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    throw ListenError.fromSystemCode(code, { host, port }, error)
  }
}
