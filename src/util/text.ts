/** Long texts. */
import buffer, { Buffer, isAscii, isUtf8 } from 'node:buffer'

/** Absent where Node was built without ICU, whatever its type says. */
const transcode: typeof buffer.transcode | undefined = buffer.transcode

/** Bytes from which on a detour pays. */
const LONG = 1024

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]

/**
 * The text as the Encoding Standard's "UTF-8 decode" makes it: without a byte order mark, and with U+FFFD for
 * what is no UTF-8. V8 makes a string of a MiB of text beyond ASCII in 4 to 8 ms; by way of UTF-16 it is less
 * than one.
 */
export function decodeUtf8(data: ArrayBuffer): string {
  const bytes = Buffer.from(data)
  if (transcode === undefined || bytes.length < LONG || isAscii(bytes) || !isUtf8(bytes)) {
    return new TextDecoder().decode(bytes)
  }
  const start = BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte) ? BYTE_ORDER_MARK.length : 0
  return transcode(bytes.subarray(start), 'utf8', 'utf16le').toString('utf16le')
}
