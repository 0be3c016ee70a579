/** Pings the sockets of one route at the interval of its `sendPings`. */
import { DueQueue } from './due-queue.js'

/** A socket, as PingSchedule sees it. `ping` does nothing on a socket that is closing. */
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
    // Bytes that were sent in this turn leave at its end, and need not wait for the client. Bytes that do
    // wait would be in front of the Ping: their client is pinged the next time, so that Pings do not pile up.
    setImmediate(() => {
      if (socket.bufferedAmount === 0) socket.ping()
    })
  }
}
