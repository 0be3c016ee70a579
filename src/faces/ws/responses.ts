/**
 * Responses to handshakes, of what the program says and `ws` would write as it is. What cannot be sent here
 * concerns one client: it is never an error of the server.
 */
import { Buffer } from 'node:buffer'
import { STATUS_CODES, validateHeaderName } from 'node:http'
import { BODILESS } from '../response.js'
import { warn } from '../warning.js'
import type { Refusal } from './handshake.js'

/** Fields that the engine writes itself, or that would contradict what it writes. */
const ENGINE_FIELDS = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding', 'upgrade'])

/** What listeners for `headers` have added. */
export interface Added {
  readonly fields: [name: string, value: string][]
  readonly protocol?: string
}

/**
 * From the lines that listeners for `headers` have added. Those that the engine writes itself are a process
 * warning. Returns what is wrong with a line that cannot be sent.
 */
export function addedFields(lines: readonly unknown[]): Added | string {
  const fields: [string, string][] = []
  let protocol: string | undefined
  for (const line of lines.map(String)) {
    const at = line.indexOf(':')
    const [name, value] = [line.slice(0, Math.max(at, 0)), line.slice(at + 1).trim()]
    const lower = name.toLowerCase()
    if (lower === 'sec-websocket-protocol') {
      protocol = protocol === undefined ? value : `${protocol}, ${value}`
      continue
    }
    if (ENGINE_FIELDS.has(lower) || lower.startsWith('sec-websocket-')) {
      const what = ENGINE_FIELDS.has(lower) ? lower : 'a field of Sec-WebSocket'
      warn(`a listener for headers has added ${what}, which has no effect: the engine writes it`)
      continue
    }
    if (!isName(name) || !/^[\t\x20-\x7e]*$/.test(value)) {
      // Without the value, which may be a secret.
      return `a listener for headers has added a line that is not "name: value" in printable ASCII (${JSON.stringify(name)})`
    }
    fields.push([name, value])
  }
  return { fields, ...(protocol !== undefined && { protocol }) }
}

/**
 * As `abortHandshake`, on the server's own port. A status that no response can have, and fields that cannot
 * be sent, become 500.
 */
export function refusal({ code: status, message, headers = {} }: Refusal): Response {
  const code = Number(status) // programs give strings, too
  const fields = new Headers({ 'content-type': 'text/html' })
  try {
    for (const [name, values] of Object.entries(headers)) {
      if (ENGINE_FIELDS.has(name.toLowerCase())) continue
      if (name.toLowerCase() === 'content-type') fields.delete(name)
      for (const value of Array.isArray(values) ? values : [values]) if (value !== undefined) fields.append(name, bytesOf(value))
    }
    const body = BODILESS.has(code) ? null : String(message || (STATUS_CODES[code] ?? ''))
    return new Response(body, { status: code, headers: fields })
  } catch {
    return new Response(STATUS_CODES[500], { status: 500, headers: { 'content-type': 'text/html' } })
  }
}

/** `ws` sends UTF-8; a character of these values is a byte. */
function bytesOf(value: string | number): string {
  return Buffer.from(String(value)).toString('latin1')
}

function isName(name: string): boolean {
  try {
    validateHeaderName(name)
    return true
  } catch {
    return false
  }
}
