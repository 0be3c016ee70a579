/**
 * The target of a request (RFC 9112, section 3.2) and its Host, read once. The route, its parameters,
 * `request.path` and `request.url` all come from this one reading, so that no two of them can mean different
 * things.
 */
import type { RequestHead } from '../engine/contract.js'
import { headerOf } from './request.js'

/** A request's target, in its normal form. */
export interface Target {
  /**
   * The path that routes are compared with, in the form that `normalizePath` gives; `*` for `OPTIONS *`,
   * which no route has.
   */
  readonly path: string
  /** The query with its `?`, as sent, or empty. */
  readonly search: string
  /** The absolute URL. A `URL` made of this text has `path` for its `pathname`, whatever the Host. */
  readonly url: string
}

/** A token (RFC 9110, sections 5.6.2 and 9.1). */
const METHOD = /^[!#$%&'*+.^_`|~\w-]+$/
/**
 * `uri-host [":" port]` (RFC 9110, section 7.2), without percent-encoding, and without a comma: a comma would
 * rather separate two values.
 */
const AUTHORITY = /^(?:\[[\dA-Fa-f:.]+\]|[\w.~!$&'()*+;=-]+)(?::\d*)?$/
/** A registered name has at most 255 characters (RFC 3986, section 3.2.2), a port five digits. */
const MAX_AUTHORITY_LENGTH = 255 + ':65535'.length
/** Where the client names no host: an empty Host, or none (HTTP/1.0). */
const NO_AUTHORITY = 'localhost'

const ABSOLUTE_FORM = /^https?:\/\/([^/?]+)/i
/**
 * What a query may contain: visible ASCII but `#`. Browsers encode fewer characters than RFC 3986 asks (URL
 * Standard, query state).
 */
const SEARCH = /^[!"$-~]*$/

/**
 * Undefined for a malformed method, target or Host: RFC 9112, sections 3 and 3.2, have the server respond
 * with 400. In absolute form the target's own authority counts, but Host must be right all the same.
 */
export function readTarget(head: RequestHead, scheme: 'http' | 'https'): Target | undefined {
  const { method, url } = head
  // The target of CONNECT is an authority, and this is no proxy.
  if (method === 'CONNECT' || !METHOD.test(method)) return undefined
  const host = headerOf(head, 'host') ?? ''
  if (host !== '' && !isAuthority(host)) return undefined
  if (url === '*') return method === 'OPTIONS' ? { path: url, search: '', url: `${scheme}://${host || NO_AUTHORITY}` } : undefined
  // Nearly all targets begin with a slash.
  const absolute = url.startsWith('/') ? null : ABSOLUTE_FORM.exec(url)
  const [prefix = '', named] = absolute ?? []
  if (named !== undefined && !isAuthority(named)) return undefined
  const queryAt = url.indexOf('?', prefix.length)
  const end = queryAt === -1 ? url.length : queryAt
  const search = url.slice(end)
  const path = absolute !== null && end === prefix.length ? '/' : normalizePath(url.slice(prefix.length, end))
  if (path === undefined || (search !== '' && !SEARCH.test(search))) return undefined
  return { path, search, url: `${scheme}://${named ?? (host || NO_AUTHORITY)}${path}${search}` }
}

/**
 * The last authority that was found to be well-formed: nearly all clients send the same one, and to parse an
 * authority costs as much as the rest of `readTarget`.
 */
let lastAuthority = NO_AUTHORITY

/**
 * The URL Standard decides what is a host name, an IPv4 or IPv6 address and a port; its parser also accepts
 * much else, which AUTHORITY excludes.
 */
function isAuthority(text: string): boolean {
  if (text === lastAuthority) return true
  if (text.length > MAX_AUTHORITY_LENGTH || !AUTHORITY.test(text) || !URL.canParse(`http://${text}`)) return false
  lastAuthority = text
  return true
}

/** `pchar` of RFC 3986, section 3.3, without percent-encoding. */
const PLAIN_PATH = /^\/[\w.~!$&'()*+,;=:@/-]*$/
/**
 * PLAIN_PATH, percent-encoding, and characters that clients send unencoded although they should be encoded.
 * Excluded are the backslash, which some programs take for a slash; bytes beyond ASCII, whose encoding is
 * unknown; a `%` that encodes nothing.
 */
const PATH = /^\/(?:[!"$&-[\]-~]|%[\dA-Fa-f]{2})*$/
/** Characters that are percent-encoded, or ought to be. */
const ENCODED = /%[\dA-Fa-f]{2}|["<>[\]^`{|}]/g
/**
 * Characters that `encodeURIComponent` leaves as they are, and `decodeURI` decodes: `unreserved` of RFC 3986,
 * section 2.3, and `!'()*`.
 */
const NEVER_ENCODED = /[\w.~!'()*-]/

/**
 * The one form of all paths that mean the same. Percent-encoded are the characters that RFC 3986 forbids in a
 * path, and reserved characters that were sent encoded; hexadecimal digits are in upper case (section 6.2.2);
 * dot segments are resolved, however they were written. Code that decodes the result further, as `decodeURI`
 * does, cannot make two different paths equal. Undefined for a malformed path.
 */
export function normalizePath(path: string): string | undefined {
  if (PLAIN_PATH.test(path)) return withoutDotSegments(path)
  return PATH.test(path) ? withoutDotSegments(path.replace(ENCODED, normalizeCharacter)) : undefined
}

function normalizeCharacter(text: string): string {
  if (text.length === 1) return `%${text.charCodeAt(0).toString(16).toUpperCase()}`
  const character = String.fromCharCode(Number.parseInt(text.slice(1), 16))
  return NEVER_ENCODED.test(character) ? character : text.toUpperCase()
}

function withoutDotSegments(path: string): string {
  return path.includes('/.') ? new URL(`http://${NO_AUTHORITY}${path}`).pathname : path
}

/**
 * A literal segment of a route's path, which may be written unencoded, in the form that the paths of requests
 * have. Undefined when no request's path can have this segment.
 */
export function normalizeSegment(segment: string): string | undefined {
  if (!segment.isWellFormed()) return undefined
  const normalized = normalizePath(`/${segment.replace(/[^!-~]/gu, encodeURIComponent)}`)
  // A dot segment resolves to nothing.
  return normalized === '/' && segment !== '' ? undefined : normalized?.slice(1)
}
