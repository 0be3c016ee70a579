/** The close code that a client gets for an error of `ws` or zlib. */
import { CLOSE_CODE } from '../../websocket/close-codes.js'

/** Close codes of the errors of `ws` that are no protocol error. */
const ERROR_CLOSE_CODES: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: CLOSE_CODE.INVALID_PAYLOAD,
  // The payload is not deflate data.
  Z_DATA_ERROR: CLOSE_CODE.INVALID_PAYLOAD,
  Z_NEED_DICT: CLOSE_CODE.INVALID_PAYLOAD,
}

/** Undefined for an error that is not about what the client has sent. */
export function closeCodeOf({ code = '' }: NodeJS.ErrnoException): number | undefined {
  return ERROR_CLOSE_CODES[code] ?? (code.startsWith('WS_ERR_') ? CLOSE_CODE.PROTOCOL_ERROR : undefined)
}
