/**
 * Responses that came from `fetch` and are handed on, as the route of a proxy does. Some of their header
 * fields are true only between the other server and `fetch`: those of the connection, and those of content
 * that `fetch` has decoded.
 */
import process from 'node:process'

/**
 * Fields of one connection that an intermediary removes, beside those that Connection names (RFC 9110,
 * section 7.6.1).
 */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']

/** Fields that describe the encoded content. Digests: RFC 9530, 3230 and 2616. */
const OF_ENCODED_CONTENT = ['content-encoding', 'content-length', 'content-md5', 'content-digest', 'repr-digest', 'digest']

/**
 * The codings that Node's fetch decodes, leaving the fields as they came. When fetch does not know one of
 * several codings, it decodes none (undici, lib/web/fetch/index.js).
 */
const DECODED = new Set(['gzip', 'x-gzip', 'deflate', 'br', ...(decodesZstd() ? ['zstd'] : [])])

/** True from undici 7.11 on, which Node.js has from 24.4 on. */
function decodesZstd(): boolean {
  const [major = 0, minor = 0] = (process.versions.undici ?? '').split('.').map(Number)
  return major > 7 || (major === 7 && minor >= 11)
}

/**
 * Whether a Response came from `fetch`: only then the Response has a URL. A Response that was made with `new
 * Response`, even from the body and headers of another, is sent as it says.
 */
export function isFetched({ url }: Response): boolean {
  return typeof url === 'string' && url !== ''
}

/** Which of a fetched Response's fields, in lower case, are not true of what is sent on. */
export function untrueFields(fields: Iterable<readonly [name: string, value: string]>): ReadonlySet<string> {
  const untrue = new Set(HOP_BY_HOP)
  const codings: string[] = []
  for (const [name, value] of fields) {
    const lower = name.toLowerCase()
    if (lower === 'connection') for (const option of listOf(value)) untrue.add(option)
    else if (lower === 'content-encoding') codings.push(...listOf(value))
  }
  if (codings.length > 0 && codings.every((coding) => DECODED.has(coding)))
    for (const name of OF_ENCODED_CONTENT) untrue.add(name)
  return untrue
}

function listOf(value: string): string[] {
  return value.split(',').map((item) => item.trim().toLowerCase())
}
