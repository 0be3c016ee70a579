/**
 * Header fields that responses get from the server rather than from a handler. The engines add Date,
 * Content-Length or Transfer-Encoding, and Connection. An engine also refuses bytes that are no request (400,
 * 408, 413, 431) on its own, with none of these fields: native/server/http/ and
 * src/engine/portable/http-server.ts.
 */

/**
 * The fields of every response, that to a handshake included: name, value, name, value … A `Server` for all
 * responses belongs here. A field that a handler sets takes the place of the one here.
 */
export const DEFAULT_HEADERS: readonly string[] = []

/** The fields of a response whose text is the server's own. */
export const TEXT_HEADERS: readonly string[] = ['content-type', 'text/plain; charset=utf-8']

/** Adds the default fields whose names are not there. Gives the same list. */
export function addDefaultHeaders(headers: string[]): string[] {
  const given = headers.length
  for (let at = 0; at + 1 < DEFAULT_HEADERS.length; at += 2) {
    const [name = '', value = ''] = DEFAULT_HEADERS.slice(at, at + 2)
    const isGiven = headers.some((text, index) => index < given && index % 2 === 0 && text.toLowerCase() === name.toLowerCase())
    if (!isGiven) headers.push(name, value)
  }
  return headers
}
