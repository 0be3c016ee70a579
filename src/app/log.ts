/** What the application says, as its own lines, as JSON, or as lines for people with time and level. */
import type { Buffer } from 'node:buffer'
import { describeMessage, escapeControls, firstLine } from './log-text.js'

/** How to say it: `--log` names `json` and `pretty`. */
export type LogFormat = 'lines' | 'json' | 'pretty'

/** What has happened. */
export type LogEvent =
  | { readonly event: 'open'; readonly id: string; readonly address: string }
  | { readonly event: 'message'; readonly id: string; readonly message: string | Buffer }
  | { readonly event: 'close'; readonly id: string; readonly code: number; readonly reason: string }
  | { readonly event: 'error'; readonly error: unknown }
  /** Of the command: what it prints when it starts, and about its output. */
  | { readonly event: 'notice'; readonly text: string; readonly isWarning?: boolean }

type Level = 'info' | 'warn' | 'error'

/** Escape sequences of terminals (ECMA-48): the colour of each level. */
const COLORS: Readonly<Record<Level, string>> = { info: '\x1b[32m', warn: '\x1b[33m', error: '\x1b[31m' }
const RESET = '\x1b[0m'

/** One line, without its line break. `hasColors` is for `pretty` alone. */
export function logLine(event: LogEvent, format: LogFormat, hasColors = false): string {
  if (format === 'lines') return plainLine(event)
  const time = new Date().toISOString()
  const level = levelOf(event)
  const fields = fieldsOf(event)
  if (format === 'json') return JSON.stringify({ time, level, event: event.event, ...fields })
  const name = level.toUpperCase().padEnd(5)
  const pairs = Object.entries(fields).map(([key, value]) => (key === 'text' ? value : `${key}=${value}`))
  return [time.slice(11, 23), hasColors ? `${COLORS[level]}${name}${RESET}` : name, event.event.padEnd(7), ...pairs].join(' ')
}

/** The default: what the command has always printed. */
function plainLine(event: LogEvent): string {
  switch (event.event) {
    case 'open':
      return `[+] Connection from ${event.id}`
    case 'message':
      return `[->] Message from ${event.id}: ${describeMessage(event.message)}`
    case 'close':
      return `[-] ${event.id} disconnected`
    case 'error':
      return `[!] ${firstLine(String(event.error))}`
    case 'notice':
      return event.text
  }
}

function levelOf(event: LogEvent): Level {
  if (event.event === 'error') return 'error'
  return event.event === 'notice' && event.isWarning === true ? 'warn' : 'info'
}

/** Everything that a client has a say in is escaped, also for JSON: lines of a log end up on terminals. */
function fieldsOf(event: LogEvent): Record<string, string | number> {
  switch (event.event) {
    case 'open':
      return { id: event.id, address: event.address }
    case 'message': {
      const isText = typeof event.message === 'string'
      return { id: event.id, kind: isText ? 'text' : 'binary', text: describeMessage(event.message) }
    }
    case 'close':
      return { id: event.id, code: event.code, ...(event.reason !== '' && { reason: escapeControls(event.reason) }) }
    case 'error':
      return { text: firstLine(String(event.error)) }
    case 'notice':
      return { text: escapeControls(event.text) }
  }
}
