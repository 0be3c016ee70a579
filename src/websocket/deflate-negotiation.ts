/**
 * The agreement with a client about permessage-deflate (RFC 7692), from the extensions that the client
 * offers. Both engines get the agreement from here, so that it does not depend on the engine.
 */
import type { CompressionAgreement, CompressionSettings, CompressionWindow, RequestHead } from '../engine/contract.js'
import { elementsOf, headerOf, withoutBlanks } from '../http/request.js'

/** One element of Sec-WebSocket-Extensions: a name, and parameters, `true` where they have no value. */
export interface ExtensionOffer {
  readonly name: string
  readonly parameters: readonly (readonly [name: string, value: string | true])[]
}

/** A token (RFC 9110, section 5.6.2). */
const NAME = /^[!#$%&'*+.^_`|~\w-]+$/
/**
 * A quoted value must be a token when it is unquoted (RFC 6455, section 9.1). Backslashes are removed before
 * the match.
 */
const PARAMETER = /^[!#$%&'*+.^_`|~\w-]+(?:=(?:[!#$%&'*+.^_`|~\w-]+|"[!#$%&'*+.^_`|~\w-]+"))?$/

/**
 * The client's offers, in its order of preference. Undefined when the header is malformed (RFC 6455, section
 * 9.1).
 */
export function extensionOffersOf(head: RequestHead): ExtensionOffer[] | undefined {
  const offers: ExtensionOffer[] = []
  const value = headerOf(head, 'sec-websocket-extensions')
  if (value === undefined) return offers
  // No token contains a comma or semicolon, quoted or not, so that these always separate.
  for (const element of elementsOf(value)) {
    const [name = '', ...parameters] = element.replace(/\\(.)/g, '$1').split(';').map(withoutBlanks)
    if (!NAME.test(name) || !parameters.every((parameter) => PARAMETER.test(parameter))) return undefined
    offers.push({ name: name.toLowerCase(), parameters: parameters.map(parameterOf) })
  }
  return offers
}

function parameterOf(text: string): readonly [string, string | true] {
  const at = text.indexOf('=')
  if (at < 0) return [text.toLowerCase(), true]
  return [text.slice(0, at).toLowerCase(), text.slice(at + 1).replaceAll('"', '')]
}

/** The parameters of an offer of permessage-deflate, with window sizes as powers of two. */
interface DeflateOffer {
  readonly serverNoContextTakeover: boolean
  readonly clientNoContextTakeover: boolean
  readonly serverMaxWindowBits: number | undefined
  /** `true`: without a value, the client only says that the server may ask for a smaller window. */
  readonly clientMaxWindowBits: number | true | undefined
}

/**
 * Undefined when no offer can be used: RFC 7692, section 7, has the server decline unusable offers, rather
 * than refuse the handshake.
 */
export function agreeOnCompression(
  offers: readonly ExtensionOffer[],
  { compressor, decompressor, threshold }: CompressionSettings,
): CompressionAgreement | undefined {
  const offer = offers.map(deflateOfferOf).find((candidate) => candidate !== undefined)
  if (offer === undefined) return undefined
  const agreed = { compressor: agreeOnCompressor(compressor, offer), decompressor: agreeOnDecompressor(decompressor, offer) }
  return { ...agreed, threshold, extension: shared(extensionOf(agreed, offer)) }
}

/** By itself. There are as many as there are combinations of windows. */
const agreements = new Map<string, string>()

/** The same text from the same memory: sockets keep it. */
function shared(extension: string): string {
  const known = agreements.get(extension)
  if (known === undefined) agreements.set(extension, extension)
  return known ?? extension
}

/** Our compressor can do everything that a client may ask for. */
function agreeOnCompressor(
  { windowBits, memoryLevel, takeover }: CompressionSettings['compressor'],
  offer: DeflateOffer,
): CompressionSettings['compressor'] {
  return {
    memoryLevel,
    windowBits: Math.min(windowBits, offer.serverMaxWindowBits ?? windowBits),
    takeover: takeover && !offer.serverNoContextTakeover,
  }
}

/**
 * A client that cannot limit its window, where the route wants a smaller window, must do without context
 * takeover: the connection's decompressor then takes no memory between messages. A client that offers to do
 * without context takeover does without.
 */
function agreeOnDecompressor({ windowBits, takeover }: CompressionWindow, offer: DeflateOffer): CompressionWindow {
  const canLimit = offer.clientMaxWindowBits !== undefined
  const agreed = { windowBits: MAX_WINDOW_BITS, takeover: false }
  if (!takeover || offer.clientNoContextTakeover || (!canLimit && windowBits < MAX_WINDOW_BITS)) return agreed
  const { clientMaxWindowBits } = offer
  return {
    windowBits: Math.min(windowBits, typeof clientMaxWindowBits === 'number' ? clientMaxWindowBits : windowBits),
    takeover,
  }
}

/** RFC 7692, section 7.1.2: a window's size is 2 to the power of 8 to 15. */
const MAX_WINDOW_BITS = 15

function extensionOf(
  { compressor, decompressor }: Pick<CompressionAgreement, 'compressor' | 'decompressor'>,
  { serverMaxWindowBits }: DeflateOffer,
): string {
  const parts = ['permessage-deflate']
  if (!compressor.takeover) parts.push('server_no_context_takeover')
  if (!decompressor.takeover) parts.push('client_no_context_takeover')
  // A window that the client has asked for must be confirmed. A smaller window of our own lets the client do
  // with less memory.
  if (serverMaxWindowBits !== undefined || compressor.windowBits < MAX_WINDOW_BITS) {
    parts.push(`server_max_window_bits=${compressor.windowBits}`)
  }
  if (decompressor.windowBits < MAX_WINDOW_BITS) parts.push(`client_max_window_bits=${decompressor.windowBits}`)
  return parts.join('; ')
}

/**
 * Undefined for another extension, and for an offer to be declined, with unknown, repeated or wrong
 * parameters (RFC 7692, section 7).
 */
function deflateOfferOf({ name, parameters }: ExtensionOffer): DeflateOffer | undefined {
  if (name !== 'permessage-deflate') return undefined
  const given = new Map(parameters)
  if (given.size < parameters.length) return undefined
  for (const [parameter, value] of parameters) {
    const isRight = PARAMETERS.get(parameter)?.(value) ?? false
    if (!isRight) return undefined
  }
  const clientMaxWindowBits = given.get('client_max_window_bits')
  const serverMaxWindowBits = given.get('server_max_window_bits')
  return {
    serverNoContextTakeover: given.has('server_no_context_takeover'),
    clientNoContextTakeover: given.has('client_no_context_takeover'),
    serverMaxWindowBits: serverMaxWindowBits === undefined ? undefined : Number(serverMaxWindowBits),
    clientMaxWindowBits: typeof clientMaxWindowBits === 'string' ? Number(clientMaxWindowBits) : clientMaxWindowBits,
  }
}

/** For each parameter, whether a value is allowed. */
const PARAMETERS: ReadonlyMap<string, (value: string | true) => boolean> = new Map([
  ['server_no_context_takeover', (value: string | true) => value === true],
  ['client_no_context_takeover', (value) => value === true],
  ['server_max_window_bits', isWindowBits],
  ['client_max_window_bits', (value) => value === true || isWindowBits(value)],
])

/** 8 to 15, without leading zeros. */
function isWindowBits(value: string | true): boolean {
  return typeof value === 'string' && /^(?:[89]|1[0-5])$/.test(value)
}
