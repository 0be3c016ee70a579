/**
 * The rule of `send`, once for both engines: whether a connection's queue has room for a message, which
 * status `send` returns, and when the `drain` that the status promises is due.
 *
 * `native/server/websocket/send_quota.h` has what C++ must apply by itself: the room for published messages,
 * and the `drain` of the native engine.
 */

/**
 * The status of a message that was not taken: the connection is closed or closing, or its queue has no room.
 * After the latter, `drain` follows when there is room again.
 */
export const NOT_TAKEN = 0
/**
 * The status of a message that was taken while earlier bytes wait. `drain` follows when the queue is empty.
 */
export const BACKPRESSURE = -1

/** The `drain` that statuses have promised: a combination of these bits. */
export enum DrainOwed {
  none = 0,
  /** After BACKPRESSURE. */
  whenEmpty = 1,
  /** After NOT_TAKEN, for want of room. */
  whenRoom = 2,
}

/** `limit` is for bytes that wait: where no byte waits, there is room for any message. */
export function hasRoom(waiting: number, length: number, limit: number): boolean {
  return waiting === 0 || waiting + length <= limit
}

/** The status of a message that was taken: its bytes (1 for an empty message), unless earlier bytes wait. */
export function takenStatus(length: number, earlierBytesWait: boolean): number {
  return earlierBytesWait ? BACKPRESSURE : length || 1
}

/** Whether `drain` is due, with so many bytes waiting. */
export function isDrainDue(owed: DrainOwed, waiting: number, limit: number): boolean {
  return owed !== DrainOwed.none && (waiting === 0 || ((owed & DrainOwed.whenRoom) !== 0 && waiting < limit))
}
