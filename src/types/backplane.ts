/** What a server says of its backplane. */

/**
 * What a server has counted of its backplane since it was made. Messages are those of `publish`, once for
 * each call or for each that came in, however many subscribers they have.
 */
export type BackplaneMetrics = {
  /**
   * Whether messages go and come. False before `listen`, after `close`, and while the broker is away. With
   * `threads`, it is about the other threads.
   */
  readonly up: boolean
  /**
   * With `threads({ outside })` alone: whether messages go to what is outside of the process, and come from
   * there. All threads know it, within 0.2 seconds, and within two where the thread that had the connection
   * was terminated.
   */
  readonly outsideUp?: boolean
  /** Messages published here while the server listened, for the others. */
  readonly published: number
  /** Messages of others that were published here to subscribers. */
  readonly delivered: number
  /**
   * Of `published`: those that were not sent, or may not have arrived. The backplane was down or too slow
   * (`maxPendingBytes`), the connection was lost before the broker had confirmed them, or the message was too
   * large. Others count in `missing` what they have not got of them.
   */
  readonly dropped: number
  /** Messages of others that are known not to have come, by the numbers of those that came later. */
  readonly missing: number
  /** Stretches of time in which messages of others were missed, or may have been. */
  readonly gaps: number
  /** How often the backplane was up again after it had been down. */
  readonly reconnects: number
  /** What came in and was no message of this package, or of a version that this server does not know. */
  readonly foreign: number
  /** Bytes of memory that wait to be sent, now; with `threads({ outside })` also to the outside. */
  readonly pendingBytes: number
  /**
   * Milliseconds from `publish` to the arrival here of the newest message of others: as exact as the
   * clocks of the two machines agree, and 0 where this one is behind.
   */
  readonly lag: number
  /** Servers behind the backplane that were heard in the last 16 seconds, this one included. */
  readonly members: number
}

/** What all servers together have replied to a question, or as many as could be reached. */
export interface EverywhereResult {
  /** The sum over those that have replied. */
  readonly count: number
  /** Servers that have replied, this one included. */
  readonly answered: number
  /** Servers that were known when the question was asked, this one included. */
  readonly members: number
  /** Milliseconds: none of the replies is older. */
  readonly age: number
}

/** Options of a question to all servers. */
export interface EverywhereOptions {
  /** Milliseconds to wait for replies: 1 to 2^31-1. Then the result has what there is. Default 1000. */
  timeout?: number
}

/** Whom `disconnectEverywhere` is about: one of the two. */
export interface DisconnectTarget {
  /** A topic: its subscribers are meant. Not together with `socketId`. */
  topic?: string
  /** `Socket.id` of the socket that is meant. */
  socketId?: string
}
