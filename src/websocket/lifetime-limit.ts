/** Closes the sockets of one route when they have lived for its `maxLifetime`. */
import { DueQueue } from './due-queue.js'

/** RFC 6455, section 7.4.1: 1000, the purpose of the connection has been fulfilled. */
const CLOSE_CODE = 1000
const CLOSE_REASON = 'maximum lifetime reached'

/** What is closed here. */
export interface Closable {
  close(code: number, reason: string): void
}

export class LifetimeLimit<S extends Closable> extends DueQueue<S> {
  protected override due(socket: S): void {
    socket.close(CLOSE_CODE, CLOSE_REASON)
  }
}
