/** The option `allowedOrigins`: which pages may open a WebSocket, by their Origin. */
import { OptionError } from '../errors.js'
import type { ServerOptions } from '../types/index.js'

/** Whether an Origin header, as sent, is allowed; undefined stands for a request without one. */
export type OriginCheck = (origin: string | undefined) => boolean

/** The Origin header of pages with an opaque origin (RFC 6454, section 7.3): sandboxed frames, files. */
const OPAQUE_ORIGIN = 'null'
/**
 * No real origin is longer: host names have at most 255 characters (RFC 3986, section 3.2.2). The conversion
 * of names beyond ASCII takes time in proportion to the square of their length.
 */
const MAX_ORIGIN_LENGTH = 512
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\s\\]+)$/
/**
 * The schemes whose hosts and default ports the URL standard knows; for other schemes, of applications and
 * extensions, `URL.origin` is 'null'.
 */
const WEB_SCHEMES = new Set(['http', 'https'])

export function resolveAllowedOrigins(given: ServerOptions['allowedOrigins'], receiver: object): OriginCheck | undefined {
  if (given === undefined) return undefined
  if (typeof given === 'function') {
    return (origin) => {
      // Called as a method, so that it may use `this`.
      const isAllowed: unknown = given.call(receiver, origin)
      // A promise would count as true, and allow every origin.
      if (typeof isAllowed !== 'boolean') throw new TypeError(`allowedOrigins must return true or false, got ${typeof isAllowed}`)
      return isAllowed
    }
  }
  if (!Array.isArray(given)) throw new OptionError('allowedOrigins', given, 'an array of origins or a function')
  const allowed = new Set(
    given.map((entry: unknown) => {
      const origin = typeof entry === 'string' ? normalizeOrigin(entry) : undefined
      if (origin !== undefined) return origin
      throw new OptionError('allowedOrigins', entry, "a list of origins like 'https://example.com', without a path")
    }),
  )
  return (origin) => {
    const normalized = origin === undefined ? undefined : normalizeOrigin(origin)
    return normalized !== undefined && allowed.has(normalized)
  }
}

/**
 * An origin as browsers write it: in lower case, without the scheme's default port. Undefined for text that
 * is no origin (RFC 6454, section 6.2).
 */
function normalizeOrigin(text: string): string | undefined {
  if (text.length > MAX_ORIGIN_LENGTH) return undefined
  const lower = text.toLowerCase()
  if (lower === OPAQUE_ORIGIN) return lower
  const [, scheme = '', authority = ''] = ORIGIN.exec(lower) ?? []
  if (scheme === '') return undefined
  if (!WEB_SCHEMES.has(scheme)) return `${scheme}://${authority}`
  // `URL` brings names beyond ASCII into the form in which browsers send them.
  return URL.canParse(lower) ? new URL(lower).origin : undefined
}
