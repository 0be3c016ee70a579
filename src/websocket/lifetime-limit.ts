/** Closes the sockets of one route when they have lived for its `maxLifetime`. */
import { CLOSE_CODE } from './close-codes.js'
import { DueQueue } from './due-queue.js'

const CLOSE_REASON = 'maximum lifetime reached'

/** A socket, as LifetimeLimit sees it. */
export interface Closable {
  close(code: number, reason: string): void
}

export class LifetimeLimit<S extends Closable> extends DueQueue<S> {
  protected override due(socket: S): void {
    socket.close(CLOSE_CODE.NORMAL_CLOSURE, CLOSE_REASON)
  }
}
