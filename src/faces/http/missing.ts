/** What a server of `node:http` has and this one has not: NotSupportedError where it is asked for. */
import { NotSupportedError } from '../../index.js'

/** A member that has one value here, that of Node. */
export interface Fixed {
  readonly value: unknown
  readonly instead: string
}

export const FIXED: Readonly<Record<string, Fixed>> = {
  /** Milliseconds, as in Node.js 20. */
  keepAliveTimeout: { value: 5000, instead: 'leave it: the engine ends idle connections after about 10 seconds' },
  headersTimeout: { value: 60_000, instead: 'set `requestTimeout`, in which head and body must have come' },
  maxHeadersCount: { value: null, instead: 'leave it: the bytes of a head are limited (docs/limits.md)' },
  maxRequestsPerSocket: { value: 0, instead: 'respond with `Connection: close` where a connection is to end' },
}

const A_SOCKET = 'it gives a socket, which the engine has'
const ENGINE_REFUSES = 'the engine refuses what is no request by itself (docs/engines.md)'

/** Events whose listeners would never be called. */
const EVENTS: Readonly<Record<string, string>> = {
  connect: 'no engine serves CONNECT',
  connection: `${A_SOCKET}: use \`request.socket\`, getConnections or closeAllConnections`,
  secureConnection: `${A_SOCKET}: use \`request.socket\`, getConnections or closeAllConnections`,
  clientError: ENGINE_REFUSES,
  tlsClientError: ENGINE_REFUSES,
  dropRequest: 'respond with `Connection: close` where a connection is to end',
  drop: "use `maxConnections` of this package's server",
  keylog: 'the engine keeps the keys',
  newSession: 'the engine resumes sessions by tickets',
  resumeSession: 'the engine resumes sessions by tickets',
  OCSPRequest: 'let a proxy staple responses of OCSP',
}

const TLS = 'give it in the option `tls`, under the name that it has there (docs/api.md)'

/** Options that would be ignored where they are as the predicate says. */
const OPTIONS: Readonly<Record<string, readonly [isMeant: (value: unknown) => boolean, instead: string]>> = {
  IncomingMessage: [isGiven, 'add to the request in the listener'],
  ServerResponse: [isGiven, 'add to the response in the listener'],
  connectionsCheckingInterval: [isGiven, 'leave it out: the engine looks each second'],
  highWaterMark: [isGiven, 'leave it out'],
  insecureHTTPParser: [isTrue, 'leave it out: the engine takes what RFC 9112 allows'],
  keepAlive: [isTrue, 'leave it out: idle connections end after about 10 seconds'],
  keepAliveInitialDelay: [(value) => isGiven(value) && value !== 0, 'leave it out'],
  maxHeaderSize: [isGiven, 'leave it out: docs/limits.md has the limit'],
  noDelay: [(value) => value === false, 'leave it out: nothing is delayed'],
  optimizeEmptyRequests: [isTrue, 'leave it out'],
  rejectNonStandardBodyWrites: [isTrue, 'leave it out: what is written to a response without a body is thrown away'],
  requireHostHeader: [(value) => value === false, 'leave it out: RFC 9112 asks for a Host'],
  shouldUpgradeCallback: [isGiven, 'add or remove the listener for `upgrade`'],
  uniqueHeaders: [isGiven, 'set each field once'],
  ...Object.fromEntries(
    ['key', 'cert', 'pfx', 'ca', 'passphrase', 'ciphers', 'SNICallback', 'ALPNProtocols', 'requestCert', 'secureContext'].map(
      (name) => [name, [isGiven, TLS] as const],
    ),
  ),
}

function isGiven(value: unknown): boolean {
  return value !== undefined
}

function isTrue(value: unknown): boolean {
  return value === true
}

/** Throws NotSupportedError for options that would be ignored. */
export function checkOptions(options: Readonly<Record<string, unknown>>): void {
  for (const [name, [isMeant, instead]] of Object.entries(OPTIONS)) {
    if (isMeant(options[name])) throw new NotSupportedError(`the option ${name} of Server`, instead)
  }
  for (const [name, { value, instead }] of Object.entries(FIXED)) {
    if (isGiven(options[name]) && options[name] !== value) {
      throw new NotSupportedError(`the option ${name} of Server`, instead)
    }
  }
}

/** The error for a listener that would never be called. */
export function notSupported(event: string | symbol): NotSupportedError | undefined {
  const instead = typeof event === 'string' && Object.hasOwn(EVENTS, event) ? EVENTS[event] : undefined
  return instead === undefined ? undefined : new NotSupportedError(`the event ${String(event)} of Server`, instead)
}
