/** Which nodes of a cluster are known. */
import type { RedisAddress } from './connection.js'

/** Whom to ask where the topics are: nodes that the user has named, and those that were found last. */
export class ClusterNodes {
  readonly #named: readonly RedisAddress[]
  #inTurn: readonly RedisAddress[]

  constructor(named: readonly RedisAddress[]) {
    this.#named = named
    this.#inTurn = named
  }

  /** The next to be asked is the first. */
  get inTurn(): readonly RedisAddress[] {
    return this.#inTurn
  }

  /** It is asked last the next time. */
  failed(node: RedisAddress): void {
    this.#inTurn = [...this.#inTurn.filter((other) => other !== node), node]
  }

  found(owners: readonly RedisAddress[]): void {
    const all = [...this.#inTurn.slice(0, 1), ...owners, ...this.#named]
    // One of each address.
    this.#inTurn = [...new Map(all.map((node) => [`${node.host} ${node.port}`, node])).values()]
  }
}
