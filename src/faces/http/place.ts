/** What `listen` is given, in all forms that Node takes, and the place that it names. */
import { type ListenOptions, NotSupportedError } from '../../index.js'
import { warn } from '../warning.js'

interface Place {
  readonly where: ListenOptions
  /** Closes the server. */
  readonly signal: AbortSignal | undefined
}

/** As Node has it; the engines' own is the longest that the system allows. */
const BACKLOG = 511
const MAX_PORT = 65_535

/** Settings without which a program would listen to more, or be reached by others, than it asks for. */
const ABSENT: Readonly<Record<string, string>> = {
  ipv6Only: "listen on '::' of a socket that is open already, by `fd`",
  readableAll: 'change the mode of the file when the server listens, or set the umask',
  writableAll: 'change the mode of the file when the server listens, or set the umask',
}

/** Throws as Node for what is no place, and NotSupportedError for what no engine can do. */
export function placeOf(given: readonly unknown[]): Place {
  const [first, second] = given
  if (typeof first === 'object' && first !== null) return placeIn({ ...first }, first)
  if (typeof first === 'string' && !/^\d+$/.test(first)) {
    warnOfBacklog(second)
    return { where: { unix: first }, signal: undefined }
  }
  const backlog = typeof second === 'number' ? second : given[2]
  warnOfBacklog(backlog)
  const host = typeof second === 'string' ? second : undefined
  return { where: onPort(typeof first === 'function' ? 0 : first, host), signal: undefined }
}

function placeIn(options: Readonly<Record<string, unknown>>, given: object): Place {
  const { port, host, path, fd, backlog, signal, reusePort } = options
  // Servers of Node have theirs in their prototype, too.
  if ('_handle' in given || 'handle' in given) {
    throw new NotSupportedError('Server.listen with a handle', 'listen on its descriptor, by `fd`, or on a port')
  }
  for (const [name, instead] of Object.entries(ABSENT)) {
    if (options[name]) throw new NotSupportedError(`the option ${name} of Server.listen`, instead)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw failure(new TypeError('The "options.signal" property must be an instance of AbortSignal'), 'ERR_INVALID_ARG_TYPE')
  }
  warnOfBacklog(backlog)
  if (typeof fd === 'number' && fd >= 0) return { where: { fd }, signal }
  if ('port' in options) {
    const where = { ...onPort(port, host), ...(reusePort === true && { reusePort }) }
    return { where, signal }
  }
  if (typeof path === 'string') return { where: { unix: path }, signal }
  throw failure(new TypeError('The argument \'options\' must have the property "port" or "path"'), 'ERR_INVALID_ARG_VALUE')
}

function onPort(given: unknown, host: unknown): { port: number; host?: string } {
  const port = Number(given ?? 0)
  const isPort = given !== '' && Number.isInteger(port) && port >= 0 && port <= MAX_PORT
  if (!isPort) {
    throw failure(new RangeError(`options.port should be >= 0 and < 65536. Received ${String(given)}`), 'ERR_SOCKET_BAD_PORT')
  }
  return { port, ...(typeof host === 'string' && { host }) }
}

function warnOfBacklog(backlog: unknown): void {
  if (typeof backlog === 'number' && backlog > 0 && backlog < BACKLOG) {
    warn('a small backlog of Server.listen has no effect: that of the engine is the longest that the system allows')
  }
}

/** With the code of Node. */
function failure(error: Error, code: string): Error {
  return Object.assign(error, { code })
}
