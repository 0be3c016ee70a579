/**
 * Every failure that this package reports: one class per kind, one stable `code` per cause. This file is
 * the only home of a code; docs/api.md lists all codes, and a test compares the two.
 */

/**
 * What each code means. The keys are the codes of every error; a ListenError has the system's own code.
 */
export const ERROR_CODES = {
  ERR_OPTION: 'An option or argument has the wrong type or is out of range; the message names it, its value and the range.',
  ERR_LISTENING: 'The call must come before the first `listen`, or the server listens already.',
  ERR_CLOSED: 'The server, or the socket that something was waited for on, is closed or closing.',
  ERR_DROPPED: 'A message was not taken: more bytes than `maxBackpressure` would wait for its client.',
  ERR_ATTACHED: 'Another adapter takes the messages of this socket.',
  ERR_LISTEN: 'The address could not be listened on, for a reason without a more precise code.',
  EADDRINUSE: 'The port is taken by another socket, or the path of the unix socket exists.',
  EACCES: 'The port is privileged (below 1024 on most systems), or the address or folder may not be used by this user.',
  EADDRNOTAVAIL: 'The host is not an address of this machine.',
  EAFNOSUPPORT: 'The address family (IPv4 or IPv6) is not available on this machine.',
  ENOTFOUND: 'The host name has no address.',
  ENOENT: 'The folder of the unix socket does not exist.',
  ENAMETOOLONG: 'The path of the unix socket is longer than the system allows (107 bytes on Linux, 103 on macOS).',
  EBADF: 'The file descriptor that was given as `fd` is not open.',
  ENOTSOCK: 'The file descriptor that was given as `fd` is no socket.',
  EINVAL:
    'The file descriptor that was given as `fd` is no socket that can accept connections: not of TCP or unix, not bound, or connected.',
  EEXIST: 'The file descriptor that was given as `fd` is in use in this process already.',
  EMFILE: 'The process has no file descriptor left, to listen with or for another connection.',
  ERR_ADOPT: 'A connection cannot be taken over from another server; the message says why, and what to do.',
  ERR_BACKPLANE:
    'The backplane could not start, has refused or dropped messages, or brought foreign ones; the message says which and how many, and `cause` is what its client threw, if anything.',
  ERR_BACKPLANE_DOWN: 'The backplane has lost its broker: until it is back, messages go to the subscribers of this server alone.',
  ERR_BACKPLANE_GAP: 'The backplane has lost messages, or may have; the message says how many, where that can be known.',
  ERR_TLS_FILE: 'A key or certificate file is missing or cannot be read.',
  ERR_TLS_KEY:
    'The private key is not PEM, is damaged, not the only one, or of a kind that cannot be used; the message names the block.',
  ERR_TLS_PASSPHRASE: 'The private key is encrypted, and the passphrase is missing or wrong.',
  ERR_TLS_CERTIFICATE: 'A certificate, of the server, its chain or a CA, is not PEM or is damaged; the message names the block.',
  ERR_TLS_MISMATCH: 'The private key does not belong to the certificate.',
  ERR_TLS_CONTEXT: 'OpenSSL refused the cipher list, or a certificate or key as too weak; the message says which.',
  ERR_BODY_TOO_LARGE: 'A request body was larger than `maxRequestBodySize`: reading it rejects with this.',
  ERR_NOT_READY:
    'More was written to the body of a response before its client had read what it had: wait for `ready` when `write` has returned false.',
  ERR_CONTENT_LENGTH: 'The Content-Length of a Response is no length, or its body turned out to be longer or shorter.',
  ERR_ENGINE_UNAVAILABLE: 'The engine that was asked for cannot be loaded; the message says why.',
  ERR_NOT_SUPPORTED: 'A member of another package that its face here does not have; the message names a way round.',
} as const satisfies Record<string, string>

/** A code of `WebSocketServerError`. */
export type ErrorCode = keyof typeof ERROR_CODES

/** The base of all errors of this package. */
export class WebSocketServerError extends Error {
  /** Stable and documented: branch on this, not on the message. */
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** An option or argument that cannot be used. */
export class OptionError extends WebSocketServerError {
  /** The option's name as the caller wrote it, for example `idleTimeout`. */
  readonly option: string
  /** What was given. */
  readonly value: unknown

  /** `expected` completes the sentence "`option` must be …". */
  constructor(option: string, value: unknown, expected: string) {
    super('ERR_OPTION', `${option} must be ${expected}, got ${describe(value)}`)
    this.option = option
    this.value = value
  }
}

/** Where `listen` was to listen. */
export type ListenTarget = { readonly host: string; readonly port: number } | { readonly unix: string } | { readonly fd: number }

/**
 * This advice is for workers of node:cluster above all, where Node's own servers share a port without
 * being told to.
 */
const SHARING_ADVICE =
  ' Processes and threads that are to share it must each listen with reusePort: true, for which the portable engine needs Node.js 22.12.'

/** `listen` failed. `code` is the system's error code where there is one. */
export class ListenError extends WebSocketServerError {
  /**
   * What was asked for: a name, a numeric address, or all addresses as `::`. `undefined` unless it was a
   * port.
   */
  readonly host: string | undefined
  /** The port asked for. `undefined` when it was a unix socket or a descriptor. */
  readonly port: number | undefined
  /** The path of the unix socket; `undefined` when it was a port or a descriptor. */
  readonly unix: string | undefined
  /** The descriptor; `undefined` when it was a port or a unix socket. */
  readonly fd: number | undefined

  constructor(code: ErrorCode, target: ListenTarget, options?: ErrorOptions) {
    const isPort = 'port' in target
    const advice = code === 'EADDRINUSE' && isPort ? SHARING_ADVICE : ''
    super(code, `cannot listen on ${nameOf(target)}: ${ERROR_CODES[code]}${advice} (${code})`, options)
    this.host = isPort ? target.host : undefined
    this.port = isPort ? target.port : undefined
    this.unix = 'unix' in target ? target.unix : undefined
    this.fd = 'fd' in target ? target.fd : undefined
  }

  /**
   * The error for a system error code. A code that ERROR_CODES does not have becomes `ERR_LISTEN`, with
   * the system's code as the cause.
   */
  static fromSystemCode(systemCode: string, target: ListenTarget, cause?: unknown): ListenError {
    const known = systemCode.startsWith('E') && !systemCode.startsWith('ERR_') && Object.hasOwn(ERROR_CODES, systemCode)
    // The cast is what Object.hasOwn has just established.
    const code = known ? (systemCode as ErrorCode) : 'ERR_LISTEN'
    return new ListenError(code, target, { cause: cause ?? systemCode })
  }
}

/** TLS material that cannot be used. */
export class TlsError extends WebSocketServerError {
  /** The file at fault, when it was named by `keyFile`, `certFile` or `caFile`. */
  readonly file: string | undefined

  constructor(code: ErrorCode, message: string, file?: string, options?: ErrorOptions) {
    super(code, message, options)
    this.file = file
  }
}

/**
 * A handler's Response cannot be sent as its Content-Length says. Nothing beyond the announced length is
 * sent, and the connection ends: with status 500 while nothing was sent yet, otherwise in the middle of
 * the response, so that the client does not take the response for whole.
 */
export class ContentLengthError extends WebSocketServerError {
  constructor(message: string) {
    super('ERR_CONTENT_LENGTH', message)
  }
}

/** The engine that was asked for cannot be had. */
export class EngineError extends WebSocketServerError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_ENGINE_UNAVAILABLE', message, options)
  }
}

/** `adopt` cannot take a connection over, by a fault of the program. The socket is still the caller's. */
export class AdoptError extends WebSocketServerError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_ADOPT', `the connection cannot be adopted: ${message}`, options)
  }
}

/**
 * The backplane could not start, has gone down, or has lost messages. One error is for all of a kind at a
 * time.
 */
export class BackplaneError extends WebSocketServerError {
  /** Which of the three it is. */
  declare readonly code: 'ERR_BACKPLANE' | 'ERR_BACKPLANE_DOWN' | 'ERR_BACKPLANE_GAP'
  /** What the backplane runs on: `redis`, for example. */
  readonly backplane: string
  /** Where it is, without user and password. */
  readonly address: string
  /** How many messages this is about, as far as that is known; else 0. */
  readonly count: number

  /** `what` completes the sentence "the backplane redis at localhost:6379 …". */
  constructor(
    code: BackplaneError['code'],
    backplane: string,
    address: string,
    what: string,
    count: number,
    options?: ErrorOptions,
  ) {
    super(code, `the backplane ${backplane}${address && ` at ${address}`} ${what}`, options)
    this.backplane = backplane
    this.address = address
    this.count = count
  }
}

/** A member of another package that its face here does not have. */
export class NotSupportedError extends WebSocketServerError {
  /** For example `WebSocketServer.handleUpgrade`. */
  readonly member: string

  /** `instead` completes the message: what to do in its place. */
  constructor(member: string, instead: string) {
    super('ERR_NOT_SUPPORTED', `${member} is not supported: ${instead}`)
    this.member = member
  }
}

/** The server or the socket is closed or closing. */
export class ClosedError extends WebSocketServerError {
  constructor(message = 'the server is closed') {
    super('ERR_CLOSED', message)
  }
}

/** A message of `Socket.sendAndFlush` was not taken: it would have exceeded `maxBackpressure`. */
export class DroppedError extends WebSocketServerError {
  constructor() {
    super('ERR_DROPPED', 'the message was not taken: more bytes than maxBackpressure would wait for the client')
  }
}

function nameOf(target: ListenTarget): string {
  if ('unix' in target) return `the unix socket ${target.unix}`
  if ('fd' in target) return `the file descriptor ${target.fd}`
  const { host, port } = target
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** A value for an error message: short, on one line, and never a secret's full text. */
function describe(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `${JSON.stringify(value.slice(0, 60))}…` : JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (value === null || typeof value !== 'object') return String(value)
  try {
    return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'Object'})`
  } catch {
    // A revoked proxy, or an accessor that throws: their errors must not take the place of the OptionError.
    return 'an object'
  }
}
