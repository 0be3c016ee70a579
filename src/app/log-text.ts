/** Turns what a client sent into text that is safe to print. */
import type { Buffer } from 'node:buffer'

/** Characters of one message that a log line shows: about two lines of a terminal. */
const MAX_LOGGED_CHARACTERS = 200

/**
 * What must not reach a terminal or a log as it is: C0 controls and DEL, C1 controls (some terminals obey
 * them), the line and paragraph separators U+2028 and U+2029 (they end a line in many viewers), the marks and
 * overrides that reorder text (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), and half a
 * surrogate pair, which cannot be encoded.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu

const SHORT_ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** The text with its control characters escaped as in a JavaScript string: `\n`, `\x1b`, `\u202e`. */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const short = SHORT_ESCAPES[character]
    if (short !== undefined) return short
    const code = character.charCodeAt(0)
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** One message on one line: text escaped, and cut after 200 characters; binary as its size. */
export function describeMessage(message: string | Buffer): string {
  if (typeof message !== 'string') return `<${count(message.length, 'byte')}, binary>`
  if (message.length <= MAX_LOGGED_CHARACTERS) return escapeControls(message)
  const splitsPair = /^[\ud800-\udbff][\udc00-\udfff]$/.test(message.slice(MAX_LOGGED_CHARACTERS - 1, MAX_LOGGED_CHARACTERS + 1))
  const shown = message.slice(0, splitsPair ? MAX_LOGGED_CHARACTERS - 1 : MAX_LOGGED_CHARACTERS)
  return `${escapeControls(shown)}… (${count(message.length - shown.length, 'more character')})`
}

/** The text's first line, where an error says what is wrong before it goes into details. */
export function firstLine(text: string): string {
  return escapeControls(text.trimStart().split(/\r?\n/, 1).join(''))
}

function count(number: number, noun: string): string {
  return `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`
}
