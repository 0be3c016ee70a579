/** Pings the sockets of one route in the interval of its `sendPings`. */
import { DueQueue } from './due-queue.js'

/** What is pinged here. Nothing happens to one that is closing. */
export interface Pingable {
  readonly bufferedAmount: number
  ping(): number
}

export class PingSchedule<S extends Pingable> extends DueQueue<S> {
  protected override due(socket: S): void {
    this.add(socket)
    if (socket.bufferedAmount === 0) {
      socket.ping()
      return
    }
    // What was sent in this turn need not wait for the client. What does, would be in front of the Ping: its
    // client is pinged the next time, so that Pings do not pile up.
    setImmediate(() => {
      if (socket.bufferedAmount === 0) socket.ping()
    })
  }
}
