/** The connections of a server of the portable engine, by id, and the topics to which they subscribe. */
import { Buffer } from 'node:buffer'
import { plainView } from '../../util/bytes.js'
import type { ConnectionId, EngineConnections, Fragment, Payload } from '../contract.js'
import type { PortableConnection } from './connection.js'
import { Topics } from './topics.js'

export class PortableConnections implements EngineConnections {
  readonly #byId = new Map<ConnectionId, PortableConnection>()
  readonly #topics = new Topics()

  add(id: ConnectionId, connection: PortableConnection): void {
    this.#byId.set(id, connection)
  }

  find(id: ConnectionId): PortableConnection | undefined {
    return this.#byId.get(id)
  }

  delete(id: ConnectionId): void {
    this.#topics.unsubscribeAll(id)
    this.#byId.delete(id)
  }

  [Symbol.iterator](): IterableIterator<PortableConnection> {
    return this.#byId.values()
  }

  subscribers(topic: string): ReadonlySet<ConnectionId> {
    return this.#topics.subscribers(topic)
  }

  send(id: ConnectionId, data: Payload, compress?: boolean, isText?: boolean): number {
    return this.#byId.get(id)?.send(ownCopy(data), compress, isText) ?? 0
  }

  sendReported(id: ConnectionId, data: Payload, compress?: boolean, isText?: boolean): number {
    return this.#byId.get(id)?.send(ownCopy(data), compress, isText, true) ?? 0
  }

  ping(id: ConnectionId, data: Payload): number {
    return this.#byId.get(id)?.ping(ownCopy(data)) ?? 0
  }

  pong(id: ConnectionId, data: Payload): number {
    return this.#byId.get(id)?.pong(ownCopy(data)) ?? 0
  }

  close(id: ConnectionId, code: number, reason: string): void {
    this.#topics.unsubscribeAll(id)
    this.#byId.get(id)?.close(code, reason)
  }

  terminate(id: ConnectionId): void {
    this.#topics.unsubscribeAll(id)
    this.#byId.get(id)?.terminate()
  }

  bufferedAmount(id: ConnectionId): number {
    return this.#byId.get(id)?.bufferedAmount ?? 0
  }

  setBufferedAmountLowThreshold(id: ConnectionId, threshold: number): boolean {
    return this.#byId.get(id)?.setBufferedAmountLowThreshold(threshold) ?? false
  }

  isOpen(id: ConnectionId): boolean {
    return this.#byId.get(id)?.isOpen ?? false
  }

  cork<R>(id: ConnectionId, callback: () => R): R {
    const connection = this.#byId.get(id)
    return connection === undefined ? callback() : connection.cork(callback)
  }

  beginMessage(id: ConnectionId): void {
    this.#byId.get(id)?.beginMessage()
  }

  readyForFragment(id: ConnectionId): boolean {
    return this.#byId.get(id)?.readyForFragment ?? true
  }

  sendFragment(id: ConnectionId, data: Uint8Array, fragment: Fragment): void {
    this.#byId.get(id)?.sendFragment(Buffer.from(plainView(data)), fragment)
  }

  withdrawMessage(id: ConnectionId): void {
    this.#byId.get(id)?.endMessage()
  }

  pause(id: ConnectionId): void {
    this.#byId.get(id)?.pause()
  }

  resume(id: ConnectionId): void {
    this.#byId.get(id)?.resume()
  }

  subscribe(id: ConnectionId, topic: string): boolean {
    return this.isOpen(id) && this.#topics.subscribe(id, topic)
  }

  unsubscribe(id: ConnectionId, topic: string): boolean {
    return this.#topics.unsubscribe(id, topic)
  }

  isSubscribed(id: ConnectionId, topic: string): boolean {
    return this.#topics.has(id, topic)
  }

  topics(id: ConnectionId): string[] {
    return this.#topics.of(id)
  }
}

/** The caller may change its bytes as soon as a call returns, and they may wait in Node until then. */
export function ownCopy(data: Payload): Payload {
  return typeof data === 'string' ? data : Buffer.from(plainView(data))
}
