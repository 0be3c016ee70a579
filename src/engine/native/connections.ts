/**
 * The connections of one thread, of all its servers. Short messages, Pings and the ends of connections pass
 * through the channel; the calls in this file go to C++ at once, which carries out the outbox first.
 */
import type { ConnectionId, EngineConnections, Fragment } from '../contract.js'
import type { Addon } from './addon.js'
import { compressChoice } from './channel-layout.js'
import { type ServerRecords, SharedChannel } from './shared-channel.js'

export class NativeConnections extends SharedChannel implements EngineConnections {
  readonly #addon: Addon

  constructor(addon: Addon, servers: ReadonlyMap<number, ServerRecords>) {
    super(addon, servers)
    this.#addon = addon
  }

  beginMessage(id: ConnectionId): void {
    if (this.isOpen(id)) this.#addon.beginMessage(id)
  }

  readyForFragment(id: ConnectionId): boolean {
    return !this.isOpen(id) || this.#addon.readyForFragment(id)
  }

  sendFragment(id: ConnectionId, data: Uint8Array, { isBinary, isFirst, isLast, compress }: Fragment): void {
    if (this.isOpen(id)) this.#addon.sendFragment(id, data, isBinary, isFirst, isLast, compressChoice(compress))
  }

  withdrawMessage(id: ConnectionId): void {
    if (this.isOpen(id)) this.#addon.withdrawMessage(id)
  }

  pause(id: ConnectionId): void {
    if (this.isOpen(id)) this.#addon.pause(id)
  }

  resume(id: ConnectionId): void {
    if (this.isOpen(id)) this.#addon.resume(id)
  }

  subscribe(id: ConnectionId, topic: string): boolean {
    return this.isOpen(id) && this.#addon.subscribe(id, topic)
  }

  unsubscribe(id: ConnectionId, topic: string): boolean {
    return this.isOpen(id) && this.#addon.unsubscribe(id, topic)
  }

  isSubscribed(id: ConnectionId, topic: string): boolean {
    return this.isOpen(id) && this.#addon.isSubscribed(id, topic)
  }

  topics(id: ConnectionId): string[] {
    return this.isOpen(id) ? this.#addon.topics(id) : []
  }
}
