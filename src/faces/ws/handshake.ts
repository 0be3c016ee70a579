/** Handshakes on connections of `node:http`, judged and refused as `ws` does. */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { type IncomingMessage, type OutgoingHttpHeaders, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ServerOptions, VerifyClientInfo } from './options.js'

export interface Refusal {
  readonly code: number
  /** The body. Default: the status's name. */
  readonly message?: string | undefined
  readonly headers?: OutgoingHttpHeaders | undefined
}

const INVALID_VERSION = {
  code: 400,
  message: 'Missing or invalid Sec-WebSocket-Version header',
  headers: { 'Sec-WebSocket-Version': '13, 8' },
}
export const INVALID_PROTOCOL = { code: 400, message: 'Invalid Sec-WebSocket-Protocol header' }

/** The option. */
type Deflate = ServerOptions['perMessageDeflate']

const EXTENSIONS = 'sec-websocket-extensions'
const DEFLATE = 'permessage-deflate'

/** RFC 6455, section 4.2.2. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** 16 bytes in Base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/
/** RFC 7692, section 7.1; a value may be quoted. */
const DEFLATE_PARAMETER =
  /^(?:(?:server|client)_no_context_takeover|client_max_window_bits|(?:server|client)_max_window_bits=(?:(?:[89]|1[0-5])|"(?:[89]|1[0-5])"))$/
/** Of any extension: a token, or one with a value (RFC 6455, section 9.1). */
const PARAMETER = /^[!#$%&'*+.^_`|~\w-]+(?:=(?:[!#$%&'*+.^_`|~\w-]+|"[^"]*"))?$/
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/

/** What is wrong with a handshake, in the words of `ws`; undefined when nothing is. */
export function faultOf({ method, headers }: IncomingMessage): (Refusal & { readonly message: string }) | undefined {
  if (method !== 'GET') return { code: 405, message: 'Invalid HTTP method' }
  if (headers.upgrade?.toLowerCase() !== 'websocket') return { code: 400, message: 'Invalid Upgrade header' }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) {
    return { code: 400, message: 'Missing or invalid Sec-WebSocket-Key header' }
  }
  return ['8', '13'].includes(headers['sec-websocket-version'] ?? '') ? undefined : INVALID_VERSION
}

/**
 * The request as the engine understands it: `ws` takes version 8 as well, whose frames are those of 13
 * (draft-ietf-hybi-thewebsocketprotocol-10), and passes over offers of extensions that the program refuses.
 */
export function understood(request: IncomingMessage, perMessageDeflate: Deflate): IncomingMessage {
  const { headers } = request
  const values = new Map<string, string>()
  if (headers['sec-websocket-version'] === '8') values.set('sec-websocket-version', '13')
  const field = headers[EXTENSIONS]
  const offers = perMessageDeflate && field !== undefined ? field.split(',') : []
  const taken = offers.filter((offer) => isTaken(offer, perMessageDeflate))
  if (taken.length < offers.length) values.set(EXTENSIONS, taken.join(','))
  if (values.size === 0) return request
  const rawHeaders: string[] = []
  for (let at = 0; at + 1 < request.rawHeaders.length; at += 2) {
    const [name = '', value = ''] = request.rawHeaders.slice(at, at + 2)
    const given = values.get(name.toLowerCase())
    // Of several lines of one field, the first has them all.
    if (given === '') continue
    rawHeaders.push(name, given ?? value)
    if (given !== undefined) values.set(name.toLowerCase(), '')
  }
  return Object.create(request, { rawHeaders: { value: rawHeaders } })
}

/**
 * What is wrong with the offers of permessage-deflate: the engine would go on without it (RFC 7692, 7), or
 * with one that the program does not take.
 */
export function extensionsFaultOf(
  { headers }: IncomingMessage,
  perMessageDeflate: Deflate,
): (Refusal & { readonly message: string }) | undefined {
  const field = headers[EXTENSIONS]
  if (!perMessageDeflate || field === undefined) return undefined
  const offers = field.split(',').map((offer) => offer.split(';').map((part) => part.trim()))
  const isRight = offers.every(([name, ...parameters]) => {
    if (name !== DEFLATE) return TOKEN.test(name ?? '') && parameters.every((each) => PARAMETER.test(each))
    const names = new Set(parameters.map((parameter) => parameter.split('=', 1)[0]))
    return names.size === parameters.length && parameters.every((parameter) => DEFLATE_PARAMETER.test(parameter))
  })
  const ofDeflate = field.split(',').filter((offer) => offer.split(';', 1)[0]?.trim() === DEFLATE)
  const isAcceptable = ofDeflate.length === 0 || ofDeflate.some((offer) => isTaken(offer, perMessageDeflate))
  return isRight && isAcceptable ? undefined : { code: 400, message: 'Invalid or unacceptable Sec-WebSocket-Extensions header' }
}

/** Whether the program takes an offer of an extension, which is well-formed. */
function isTaken(offer: string, perMessageDeflate: Deflate): boolean {
  const [name, ...parts] = offer.split(';').map((part) => part.trim())
  if (name !== DEFLATE || typeof perMessageDeflate !== 'object') return true
  const offered = new Map<string, string | undefined>()
  for (const part of parts) {
    const [parameter = '', value] = part.replaceAll('"', '').split('=', 2)
    offered.set(parameter, value)
  }
  const { serverNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits } = perMessageDeflate as Readonly<
    Record<string, unknown>
  >
  if (serverNoContextTakeover === false && offered.has('server_no_context_takeover')) return false
  const forServer = offered.get('server_max_window_bits')
  if (forServer !== undefined) {
    if (serverMaxWindowBits === false) return false
    if (typeof serverMaxWindowBits === 'number' && serverMaxWindowBits > Number(forServer)) return false
  }
  if (typeof clientMaxWindowBits !== 'number') return true
  const ofClient = offered.get('client_max_window_bits')
  return offered.has('client_max_window_bits') && (ofClient === undefined || clientMaxWindowBits <= Number(ofClient))
}

/** The subprotocols that the client offers; undefined when the field is malformed, or names one twice. */
export function protocolsOf({ headers }: IncomingMessage): Set<string> | undefined {
  const field = headers['sec-websocket-protocol']
  if (field === undefined) return new Set()
  // Of other characters, `trim` would take more than the white space of a list (RFC 9110, section 5.6.1).
  if (!/^[\t\x20-\x7e]*$/.test(field)) return undefined
  const names = field.split(',').map((name) => name.trim())
  const protocols = new Set(names)
  return protocols.size === names.length && names.every((name) => TOKEN.test(name)) ? protocols : undefined
}

/** The lines of the 101 response as listeners for 'headers' get them, who may add to them. */
export function responseLines({ headers }: IncomingMessage, protocol: string | false | undefined): string[] {
  const accept = createHash('sha1').update(`${headers['sec-websocket-key']}${GUID}`).digest('base64')
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
  ]
  if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`)
  return lines
}

/** Responds on the socket itself, and ends the connection. */
export function abortHandshake(socket: Duplex, { code, message: given, headers }: Refusal): void {
  const message = String(given || (STATUS_CODES[code] ?? ''))
  const fields: OutgoingHttpHeaders = {
    Connection: 'close',
    'Content-Type': 'text/html',
    'Content-Length': Buffer.byteLength(message),
    ...headers,
  }
  const lines = [`HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}`]
  for (const [name, value] of Object.entries(fields)) lines.push(`${name}: ${String(value)}`)
  socket.once('finish', () => socket.destroy())
  socket.end(`${lines.join('\r\n')}\r\n\r\n${message}`)
}

/** Asks the option `verifyClient`, and calls back with what it says, perhaps later. */
export function verify(
  { verifyClient }: ServerOptions,
  request: IncomingMessage,
  decided: (refused: Refusal | undefined) => void,
): void {
  if (!verifyClient) {
    decided(undefined)
    return
  }
  const { socket } = request
  const { headers } = request
  const info: VerifyClientInfo = {
    // Undefined where the client sends none, whatever the type of `@types/ws` says.
    origin: (headers['sec-websocket-version'] === '8' ? headers['sec-websocket-origin'] : headers.origin) as string,
    secure: 'encrypted' in socket && socket.encrypted === true,
    req: request,
  }
  // As `ws` tells one form from the other.
  if (verifyClient.length !== 2) {
    decided((verifyClient as (given: VerifyClientInfo) => unknown)(info) ? undefined : { code: 401 })
    return
  }
  verifyClient(info, (accepts, code, message, headers) => decided(accepts ? undefined : { code: code || 401, message, headers }))
}

/** The subprotocol for a client that offers these; undefined or false for none. */
export function protocolFor(
  { handleProtocols }: ServerOptions,
  protocols: ReadonlySet<string>,
  request: IncomingMessage,
): string | false | undefined {
  const [first] = protocols
  return first === undefined || !handleProtocols ? first : handleProtocols(new Set(protocols), request)
}

interface ServerListeners {
  listening(): void
  error(error: Error): void
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
}

/** Adds the listeners to a server of Node's, and returns what takes them away. */
export function attach(server: NonNullable<ServerOptions['server']>, listeners: ServerListeners): () => void {
  const { listening, error, upgrade } = listeners
  // What the three have in common.
  const emitter: EventEmitter = server as EventEmitter
  emitter.on('listening', listening).on('error', error).on('upgrade', upgrade)
  return () => void emitter.off('listening', listening).off('error', error).off('upgrade', upgrade)
}

/** A listener for errors of sockets whose handshake is under way. */
export function destroyAfterError(this: Duplex): void {
  this.destroy()
}
