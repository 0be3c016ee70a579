/**
 * The functions of µWebSockets and µSockets that our native code stands for, or relies on the inside of.
 * native/upstream.json keeps a hash of each one's text, as it was when our code was last held against it.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Seam {
  /** The file of ours that knows the function. */
  readonly seam: string
  /** Below external/uwebsockets. */
  readonly file: string
  /** How its definition begins, up to its first brace or before: the first such place in the file. */
  readonly begins: string
  /** What our code does in its place, or takes for granted: what to check when it has changed. */
  readonly relies: string
  readonly sha256: string
}

const ROOT = join(import.meta.dirname, '..', '..')
const UPSTREAM = join(ROOT, 'external', 'uwebsockets')
const SEAMS = join(ROOT, 'native', 'upstream.json')

export const upstreamIsHere = existsSync(join(UPSTREAM, 'uSockets', 'src', 'loop.c'))

export const seams = (): Seam[] => JSON.parse(readFileSync(SEAMS, 'utf8')) as Seam[]

/**
 * The text of a function, struct or variable: from where it begins to the brace, or else the semicolon, that
 * ends it. Undefined when there is none.
 */
export function definitionIn(source: string, begins: string): string | undefined {
  const start = source.indexOf(begins)
  const open = start === -1 ? -1 : source.indexOf('{', start)
  const semicolon = start === -1 ? -1 : source.indexOf(';', start)
  if (semicolon !== -1 && (open === -1 || semicolon < open)) return source.slice(start, semicolon + 1)
  if (open === -1) return undefined
  let depth = 0
  for (let at = open; at < source.length; at++) {
    if (source[at] === '{') depth += 1
    if (source[at] === '}' && --depth === 0) return source.slice(start, at + 1)
  }
  return undefined
}

/** Of what stands in the checkout; undefined when the function is not found. */
export function currentHash({ file, begins }: Pick<Seam, 'file' | 'begins'>): string | undefined {
  const text = definitionIn(readFileSync(join(UPSTREAM, file), 'utf8'), begins)
  return text === undefined ? undefined : createHash('sha256').update(text).digest('hex')
}
