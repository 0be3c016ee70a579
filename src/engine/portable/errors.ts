/** What the errors of `ws` mean to the client. */

/** Close codes of the errors of `ws` that are no protocol error (1002): RFC 6455, section 7.4.1. */
const ERROR_CLOSE_CODES: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  // Compressed data that is none.
  Z_DATA_ERROR: 1007,
  Z_NEED_DICT: 1007,
}

/** Undefined for an error that is not about what the client has sent. */
export function closeCodeOf({ code = '' }: NodeJS.ErrnoException): number | undefined {
  return ERROR_CLOSE_CODES[code] ?? (code.startsWith('WS_ERR_') ? 1002 : undefined)
}
