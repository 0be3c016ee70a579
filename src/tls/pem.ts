/**
 * The blocks of a PEM file (RFC 7468), read strictly: a damaged block that OpenSSL would pass over in
 * silence, and that would then be missing from a chain, is an error here.
 */
import type { Buffer } from 'node:buffer'

export interface PemBlock {
  /** Counted from 1 over all blocks of the file, of any label. */
  readonly number: number
  /** The label in the BEGIN line, for example `CERTIFICATE`. */
  readonly label: string
  /** The block from its BEGIN to its END line, as Latin-1, with a line feed at the end of each line. */
  readonly text: string
}

/** A block that cannot be used. */
export class PemError extends Error {
  /** The number, as in PemBlock. */
  readonly block: number

  constructor(block: number, problem: string, options?: ErrorOptions) {
    super(`block ${block}: ${problem}`, options)
    this.block = block
  }
}

const BEGIN = '-----BEGIN '
const END = '-----END '
const DASHES = '-----'
/** U+FEFF in UTF-8, as Windows editors put it before a text. */
const BYTE_ORDER_MARK = '\u00ef\u00bb\u00bf'

/**
 * A line that is meant to begin or end a block, but has lost its dashes: word processors replace them by
 * other characters.
 */
const DAMAGED_LINE = /^\s*[^\w\s#][^\w#]*(?:BEGIN|END) [A-Z0-9 ]*(?:CERTIFICATE|KEY|CRL)[^\w\s]/

/**
 * Any text may stand between the blocks; a line that begins with `#` is text, whatever it shows. Byte order
 * marks count nowhere: a file that was appended to another has one in the middle. Throws PemError.
 */
export function pemBlocks(pem: Buffer): readonly PemBlock[] {
  const blocks: PemBlock[] = []
  let lines: string[] = []
  let label: string | undefined // of the block that has begun
  const text = pem.toString('latin1').replaceAll(BYTE_ORDER_MARK, '')
  for (const given of text.split('\n')) {
    const line = given.trimEnd()
    const number = blocks.length + 1
    if (label === undefined) {
      label = labelBegunBy(line, number)
      lines = [line]
    } else if (endsBlock(line, label, number)) {
      blocks.push({ number, label, text: `${lines.join('\n')}\n${line}\n` })
      label = undefined
    } else {
      lines.push(line)
    }
  }
  if (label !== undefined) throw new PemError(blocks.length + 1, 'it is cut off, and has no END line')
  // The file ends within a BEGIN line. A text between blocks rarely ends with a dash and no line feed.
  const last = text.slice(text.lastIndexOf('\n') + 1)
  if (last !== '' && BEGIN.startsWith(last)) throw new PemError(blocks.length + 1, 'it is cut off in its BEGIN line')
  return blocks
}

/** The label of the block that begins with this line, which is outside of any block; undefined for text. */
function labelBegunBy(line: string, number: number): string | undefined {
  if (line.startsWith('#')) return undefined
  if (line.startsWith(END)) throw new PemError(number, 'its END line has no BEGIN line')
  const label = line.startsWith(BEGIN) && line.endsWith(DASHES) ? line.slice(BEGIN.length, -DASHES.length) : ''
  if (label !== '' && !label.includes(DASHES)) return label
  // A BEGIN in the middle of a sentence is text.
  const looksLikeOne = line.trimStart().startsWith(BEGIN) || (line.includes(BEGIN) && line.endsWith(DASHES))
  const isCutOff = line.length > DASHES.length && (BEGIN.startsWith(line) || END.startsWith(line))
  if (looksLikeOne || isCutOff || DAMAGED_LINE.test(line))
    throw new PemError(number, 'its BEGIN line is damaged, or not alone on its line')
  return undefined
}

/** Whether this line of the block is its last. */
function endsBlock(line: string, label: string, number: number): boolean {
  if (!line.includes(DASHES)) return false
  const end = `${END}${label}${DASHES}`
  if (line === end) return true
  if (line.startsWith(end + BEGIN)) {
    throw new PemError(number + 1, `a line feed is missing between the END line of block ${number} and its BEGIN line`)
  }
  if (line.startsWith(BEGIN)) throw new PemError(number, `it is cut off: block ${number + 1} begins before its END line`)
  throw new PemError(number, 'its END line is damaged, not alone on its line, or of another block')
}
