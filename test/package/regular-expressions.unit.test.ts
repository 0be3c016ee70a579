/**
 * The regular expressions of src/ take time in proportion to what they read: clients choose what most of them
 * read.
 */
import { check } from 'recheck'
import { describe, expect, test } from 'vitest'
import { parseAst } from 'vitest/node'
import { contentOf, filesBelow } from '../support/source-tree.js'

// The checker has faster programs for some systems. This is the one that needs neither them nor Java.
process.env.RECHECK_BACKEND = 'pure'

interface Expression {
  readonly source: string
  readonly flags: string
}

interface Found {
  readonly literals: Expression[]
  /** How many are put together at run time. */
  made: number
}

/** The regular expressions in a piece of TypeScript. */
function expressionsIn(code: string): Found {
  const found: Found = { literals: [], made: 0 }
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    const { type, regex, callee } = node as {
      type?: string
      regex?: { pattern: string; flags: string }
      callee?: { name?: string }
    }
    if (type === 'Literal' && regex) found.literals.push({ source: regex.pattern, flags: regex.flags })
    if ((type === 'NewExpression' || type === 'CallExpression') && callee?.name === 'RegExp') found.made += 1
    Object.values(node).forEach(visit)
  }
  visit(parseAst(code, { lang: 'ts' }))
  return found
}

/** What the checker says: `safe`, `vulnerable`, or `unknown` when it takes too long. */
async function verdictOn({ source, flags }: Expression): Promise<string> {
  return (await check(source, flags, { timeout: 30_000 })).status
}

const files = filesBelow('src', /\.ts$/).map((file) => ({ file, ...expressionsIn(contentOf(file)) }))
const literals = files.flatMap((found) => found.literals.map((literal) => ({ ...literal, file: found.file })))

describe('the regular expressions of src/', () => {
  test('are literals, so that all of them are found', () => {
    expect(literals.length).toBeGreaterThan(20)
    expect(files.filter(({ made }) => made > 0).map(({ file }) => file)).toEqual([])
  })

  test.each(literals)('$file: /$source/$flags is linear', { timeout: 120_000 }, async (literal) => {
    expect(await verdictOn(literal)).toBe('safe')
  })
})

describe('the check', () => {
  test('finds what is hidden in types, templates and calls', () => {
    const code =
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is code that has one
      'const a: number = `${/a+$/g.exec(b as string)}`.length; new RegExp(a); f(RegExp(`${/b/}`)); const c = "/no/" // /no/'
    expect(expressionsIn(code)).toEqual({
      literals: [
        { source: 'a+$', flags: 'g' },
        { source: 'b', flags: '' },
      ],
      made: 2,
    })
  })

  test.each([/^[ \t]+|[ \t]+$/g, /(a+)+$/, /^(?:a|a)*$/, /\s*,/])(
    'would show %s',
    { timeout: 120_000 },
    async ({ source, flags }) => {
      expect(await verdictOn({ source, flags })).toBe('vulnerable')
    },
  )
})
