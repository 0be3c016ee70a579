/**
 * What a server of `node:http` has and this one has not: NotSupportedError where it is asked for, or a
 * process warning where programs ask for it that run without it.
 */
import { NotSupportedError } from '../../index.js'
import { warn } from '../warning.js'
import { overriddenBy, type ResponseClass } from './exchange.js'

/** A member that has one value here, that of Node. */
export interface Fixed {
  readonly value: unknown
  readonly instead: string
  /** Whether another value is kept, without effect and with a process warning: many programs set one. */
  readonly isKept?: boolean
}

export const FIXED: Readonly<Record<string, Fixed>> = {
  /** Milliseconds, as in Node.js 20. */
  keepAliveTimeout: {
    value: 5000,
    instead: 'the engine ends idle connections after 5 to 10 seconds: have a proxy in front end them earlier',
    isKept: true,
  },
  headersTimeout: { value: 60_000, instead: 'set `requestTimeout`, in which head and body must have come', isKept: true },
  /** Milliseconds, as in newer releases of Node. */
  keepAliveTimeoutBuffer: {
    value: 1000,
    instead: 'the engine ends idle connections after 5 to 10 seconds, and tells no client beforehand',
    isKept: true,
  },
  maxConnections: { value: undefined, instead: 'have the proxy in front limit connections, or the system the descriptors' },
  dropMaxConnection: { value: undefined, instead: 'have the proxy in front limit connections' },
  shouldUpgradeCallback: { value: undefined, instead: 'add or remove the listener for `upgrade`' },
  maxHeadersCount: { value: null, instead: 'leave it: the bytes of a head are limited (docs/limits.md)' },
  maxRequestsPerSocket: { value: 0, instead: 'respond with `Connection: close` where a connection is to end' },
}

const ENGINE_REFUSES = 'the engine refuses what is no request by itself (docs/engines.md)'

/** Events whose listeners would never be called. */
const EVENTS: Readonly<Record<string, string>> = {
  connect: 'no engine serves CONNECT',
  dropRequest: 'respond with `Connection: close` where a connection is to end',
  drop: 'no connection is dropped: have the proxy in front limit connections',
  keylog: 'the engine keeps the keys',
  newSession: 'the engine resumes sessions by tickets',
  resumeSession: 'the engine resumes sessions by tickets',
  OCSPRequest: 'let a proxy staple responses of OCSP',
}

/** Events of which the same is true, but for which common programs (Fastify) listen in any case. */
const SILENT_EVENTS: Readonly<Record<string, string>> = { clientError: ENGINE_REFUSES, tlsClientError: ENGINE_REFUSES }

const TLS = 'give it in the option `tls`, under the name that it has there (docs/api.md)'

/** Options of `node:https`. */
const OF_TLS =
  'key cert pfx ca passphrase ciphers SNICallback ALPNProtocols ALPNCallback requestCert rejectUnauthorized secureContext ' +
  'crl dhparam ecdhCurve honorCipherOrder minVersion maxVersion secureOptions secureProtocol sessionIdContext ' +
  'sessionTimeout sigalgs ticketKeys handshakeTimeout pskCallback clientCertEngine privateKeyEngine privateKeyIdentifier'

type Absent = readonly [isMeant: (value: unknown) => boolean, instead: string]

/** Options that would be ignored where they are as the predicate says. */
const OPTIONS_OF_HTTP: Readonly<Record<string, Absent>> = {
  connectionsCheckingInterval: [isGiven, 'leave it out: the engine looks each second'],
  highWaterMark: [isGiven, 'leave it out'],
  httpValidation: [isGiven, 'leave it out: the engine takes what RFC 9112 allows'],
  insecureHTTPParser: [isTrue, 'leave it out: the engine takes what RFC 9112 allows'],
  keepAlive: [isTrue, 'leave it out: idle connections end after about 10 seconds'],
  keepAliveInitialDelay: [(value) => isGiven(value) && value !== 0, 'leave it out'],
  maxHeaderSize: [isGiven, 'leave it out: docs/limits.md has the limit'],
  noDelay: [(value) => value === false, 'leave it out: nothing is delayed'],
  optimizeEmptyRequests: [isTrue, 'leave it out'],
  rejectNonStandardBodyWrites: [isTrue, 'leave it out: what is written to a response without a body is thrown away'],
  requireHostHeader: [(value) => value === false, 'leave it out: RFC 9112 asks for a Host'],
  uniqueHeaders: [isGiven, 'set each field once'],
}

/** Node keeps these options as members, too. */
export const OPTION_MEMBERS = Object.keys(OPTIONS_OF_HTTP)

const OPTIONS: Readonly<Record<string, Absent>> = {
  ...OPTIONS_OF_HTTP,
  ...Object.fromEntries(OF_TLS.split(' ').map((name) => [name, [isGiven, TLS] as const])),
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
  for (const [name, fixed] of Object.entries(FIXED))
    if (isGiven(options[name])) checkFixed(`the option ${name}`, options[name], fixed)
  const { ServerResponse: Class } = options
  const overridden = typeof Class === 'function' ? overriddenBy(Class as ResponseClass) : undefined
  if (overridden !== undefined) {
    throw new NotSupportedError(
      `the option ServerResponse of Server, of a class that has its own ${overridden}`,
      `replace ${overridden} of each response, in the listener`,
    )
  }
}

/** Throws NotSupportedError for another value than the one that holds, or warns where programs set one. */
export function checkFixed(what: string, given: unknown, { value, instead, isKept = false }: Fixed): void {
  if (given === value) return
  if (!isKept) throw new NotSupportedError(`${what} of Server`, instead)
  warn(`${what} of Server has no effect: ${instead}`)
}

/** Throws NotSupportedError for a listener that would never be called, or warns where programs add one. */
export function checkEvent(event: string | symbol): void {
  if (typeof event !== 'string') return
  if (Object.hasOwn(EVENTS, event)) throw new NotSupportedError(`the event ${event} of Server`, EVENTS[event] ?? '')
  if (Object.hasOwn(SILENT_EVENTS, event)) warn(`the event ${event} of Server never comes: ${SILENT_EVENTS[event]}`)
}
