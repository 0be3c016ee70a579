/** A failure of `listen` in the shape of Node: programs ask for `syscall`, `errno` and `address`. */
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import { ListenError } from '../../index.js'

/** As Node puts it where the name of a host could not be resolved. */
const GETADDRINFO = 'getaddrinfo'
/** Node's number for ENOTFOUND, which no system has. */
const ENOTFOUND = -3008

/** With the ListenError as its cause; any other error, of `tls` for example, as it is. */
export function listenErrorOf(error: unknown): Error {
  if (!(error instanceof ListenError)) return error instanceof Error ? error : new Error(String(error))
  const { cause: found, host, port, unix } = error
  const of = (name: string): unknown => (typeof found === 'object' && found !== null ? Reflect.get(found, name) : undefined)
  if (error.code === 'ENOTFOUND' || of('syscall') === GETADDRINFO) {
    const code = String(of('code') ?? error.code)
    const members = { errno: of('errno') ?? ENOTFOUND, code, syscall: GETADDRINFO, hostname: host }
    return Object.assign(new Error(`${GETADDRINFO} ${code} ${host}`, { cause: error }), members)
  }
  const code = error.code === 'ERR_LISTEN' ? String(of('code') ?? found ?? error.code) : error.code
  const errno = numberOf(code)
  const said = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]
  const address = host ?? unix ?? null
  const place = address === null ? '' : ` ${address}${port ? `:${port}` : ''}`
  // As Node, which counts a path as a port, and leaves out port 0.
  const shown = unix === undefined ? port : -1
  return Object.assign(new Error(`listen ${code}: ${said ?? error.message}${place}`, { cause: error }), {
    code,
    ...(errno !== undefined && { errno }),
    syscall: 'listen',
    address,
    ...(shown && { port: shown }),
  })
}

/** Below zero, as in errors of Node; undefined for codes that are none of the system. */
function numberOf(code: string): number | undefined {
  const numbers: Readonly<Record<string, number>> = constants.errno
  return Object.hasOwn(numbers, code) ? -(numbers[code] ?? 0) : undefined
}
