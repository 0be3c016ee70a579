/** `maxConnectionsPerAddress`: how many WebSocket connections, and upgrades under way, come from where. */
import type { RequestHead } from '../engine/contract.js'

/**
 * Groups of 16 bits in an IPv6 address, and how many of them name the network that one subscriber usually has
 * (RFC 6177).
 */
const GROUPS = 8
const NETWORK_GROUPS = 4

/**
 * The group under which an address counts: an IPv4 address itself, also when it is written as IPv6 (RFC 4291,
 * section 2.5.5.2), and of an IPv6 address the first 64 bits. Takes numeric addresses, in any of their
 * spellings.
 */
export function addressGroup(address: string): string {
  if (!address.includes(':')) return address
  // Without the zone of a link-local address (RFC 4007, section 11).
  const [numeric = ''] = address.split('%', 1)
  const [head = '', tail] = numeric.split('::')
  const [before, after] = [toGroups(head), toGroups(tail ?? '')]
  const zeros = tail === undefined ? 0 : GROUPS - before.length - after.length
  const groups = [...before, ...Array<number>(Math.max(0, zeros)).fill(0), ...after]
  const [high = 0, low = 0] = groups.slice(-2)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMapped) return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  return `${groups
    .slice(0, NETWORK_GROUPS)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}

/** The groups in a part of an IPv6 address; an IPv4 address at its end counts for two. */
function toGroups(part: string): number[] {
  if (part === '') return []
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [(a << 8) | b, (c << 8) | d]
  })
}

/**
 * Counts the holders of places by address group. `H` is the object that stands for a connection while the
 * connection has a place.
 */
export class AddressLimit<H> {
  readonly #max: number
  readonly #isProxied: boolean
  /** Places taken, by group; no group is without one. */
  readonly #taken = new Map<string, number>()
  readonly #groups = new Map<H, string>()

  /** `isProxied`: the address that a proxy tells counts, rather than the peer's. */
  constructor(max: number, isProxied: boolean) {
    this.#max = max
    this.#isProxied = isProxied
  }

  /**
   * Undefined for a client without an address, which is not limited: on a unix socket, or behind a proxy that
   * names no address.
   */
  groupOf({ remoteAddress, proxiedAddress, incoming }: RequestHead): string | undefined {
    // An adopted connection has come past no proxy that this server knows.
    const address = this.#isProxied && incoming === undefined ? proxiedAddress : remoteAddress
    return address === '' ? undefined : addressGroup(address)
  }

  hasRoom(group: string | undefined): boolean {
    return group === undefined || (this.#taken.get(group) ?? 0) < this.#max
  }

  enter(holder: H, group: string | undefined): void {
    if (group === undefined) return
    this.#groups.set(holder, group)
    this.#taken.set(group, (this.#taken.get(group) ?? 0) + 1)
  }

  /** Does nothing for a holder without a place. */
  leave(holder: H): void {
    const group = this.#groups.get(holder)
    if (group === undefined) return
    this.#groups.delete(holder)
    // The cast is safe: a holder with a group has entered.
    const left = (this.#taken.get(group) as number) - 1
    if (left === 0) this.#taken.delete(group)
    else this.#taken.set(group, left)
  }
}
