/**
 * Close codes: RFC 6455, section 7.4.1, and the registry of IANA for what came later. `docs/api.md` tells
 * users which of them the `close` handler gets, and when.
 */
export const CLOSE_CODE = {
  NORMAL_CLOSURE: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  /** Stands for a Close frame without a code, in either direction: no frame has this code in it. */
  NO_STATUS_RECEIVED: 1005,
  /** Stands for the end without a Close frame: no frame has this code in it either. */
  ABNORMAL_CLOSURE: 1006,
  INVALID_PAYLOAD: 1007,
  POLICY_VIOLATION: 1008,
  MESSAGE_TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
} as const

/** The codes that an endpoint may send, as ranges: section 7.4, and the registry for 1012 to 1014. */
export const SENDABLE_CLOSE_CODES: readonly (readonly [first: number, last: number])[] = [
  [1000, 1003],
  [1007, 1014],
  [3000, 4999],
]
