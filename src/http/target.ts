/**
 * What a request is for: its target (RFC 9112, section 3.2) and its Host, read once. The route, its
 * parameters, `request.path` and `request.url` all come from this one reading, so that no two of them can
 * mean different things.
 */
import type { RequestHead } from '../engine/contract.js'
import { headerOf } from './request.js'

/** A request's target, in its normal form. */
export interface Target {
  /**
   * What routes are compared with, in the form that `normalizePath` gives; `*` for `OPTIONS *`, which no
   * route has.
   */
  readonly path: string
  /** With its `?`, as sent, or empty. */
  readonly search: string
  /** All of it. A URL that is made of this has `path` for its `pathname`, whatever the Host. */
  readonly url: string
}

/** A token (RFC 9110, sections 5.6.2 and 9.1). */
const METHOD = /^[!#$%&'*+.^_`|~\w-]+$/
/**
 * `uri-host [":" port]` (RFC 9110, section 7.2), without a comma, which would rather be two values in a list,
 * or percent-encoding.
 */
const AUTHORITY = /^(?:\[[\dA-Fa-f:.]+\]|[\w.~!$&'()*+;=-]+)(?::\d*)?$/
/** A registered name has at most 255 characters (RFC 3986, section 3.2.2), a port five digits. */
const MAX_AUTHORITY_LENGTH = 255 + ':65535'.length
/** Where the client names no host: an empty Host, or none (HTTP/1.0). */
const NO_AUTHORITY = 'localhost'

const ABSOLUTE_FORM = /^https?:\/\/([^/?]+)/i
/**
 * What a query may have in it: visible ASCII but `#`. Browsers encode less of it than RFC 3986 asks (URL
 * Standard, query state).
 */
const SEARCH = /^[!"$-~]*$/

/**
 * Undefined for a method, target or Host that is none: RFC 9112, sections 3 and 3.2, have them answered with
 * 400. In absolute form the target's own authority counts, but Host must be right all the same.
 */
export function readTarget(head: RequestHead, scheme: 'http' | 'https'): Target | undefined {
  const { method, url } = head
  // The target of CONNECT is an authority, and this is no proxy.
  if (method === 'CONNECT' || !METHOD.test(method)) return undefined
  const host = headerOf(head, 'host') ?? ''
  if (host !== '' && !isAuthority(host)) return undefined
  if (url === '*') return method === 'OPTIONS' ? { path: url, search: '', url: `${scheme}://${host || NO_AUTHORITY}` } : undefined
  // Nearly all begin with a slash.
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
 * The last one that was found to be right: nearly all clients name the same, and parsing it costs as much as
 * the rest of the reading.
 */
let lastAuthority = NO_AUTHORITY

/**
 * The URL Standard decides what is a host name, an IPv4 or IPv6 address and a port; its parser takes much
 * else, though.
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
 * And what clients send as it is, though it should be percent-encoded. Not a backslash, which some take for a
 * slash; nothing beyond ASCII, of which nobody knows the encoding; no `%` that encodes nothing.
 */
const PATH = /^\/(?:[!"$&-[\]-~]|%[\dA-Fa-f]{2})*$/
/** What is percent-encoded, or ought to be. */
const ENCODED = /%[\dA-Fa-f]{2}|["<>[\]^`{|}]/g
/**
 * What `encodeURIComponent` leaves as it is, and `decodeURI` decodes: `unreserved` of RFC 3986, section 2.3,
 * and `!'()*`.
 */
const NEVER_ENCODED = /[\w.~!'()*-]/

/**
 * The one form of all paths that mean the same: percent-encoded is what RFC 3986 does not let stand as it is,
 * and what it reserves and was sent encoded; with hexadecimal digits in upper case (section 6.2.2); without
 * dot segments, however they were written. Whoever decodes it further, as `decodeURI` does, cannot make two
 * paths one. Undefined when it is no path.
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
 * A literal segment of a route's path, which may be written as it is read, in the form that requests have.
 * Undefined when none can.
 */
export function normalizeSegment(segment: string): string | undefined {
  if (!segment.isWellFormed()) return undefined
  const normalized = normalizePath(`/${segment.replace(/[^!-~]/gu, encodeURIComponent)}`)
  // A dot segment leaves nothing of itself.
  return normalized === '/' && segment !== '' ? undefined : normalized?.slice(1)
}
