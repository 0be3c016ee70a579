import { expect, test } from 'vitest'
import { MAX_WIDTH, tooWide } from '../../scripts/style/prose-width.mjs'

const wide = 'word '.repeat(MAX_WIDTH / 5 + 1)

test.each([
  ['a comment of a line', 'a.ts', `  // ${wide}`],
  ['a line of a longer comment', 'a.mjs', ` * ${wide}`],
  ['a comment behind code', 'a.h', `  call('it // is');  // ${wide}`],
  ['a paragraph', 'a.md', wide],
  ['an item of a list', 'a.md', `- ${wide}`],
])('%s may not be too wide', (_what, file, line) => {
  expect(tooWide(file, `first\n${line}`)).toEqual([2])
})

test.each([
  ['code', 'a.ts', `const a = [${'1, '.repeat(MAX_WIDTH)}]`],
  ['a string with slashes in it', 'a.ts', `const a = 'b // ${wide}'`],
  ['an address', 'a.ts', `// https://${'a'.repeat(MAX_WIDTH)}`],
  ['a row of a table', 'a.md', `| ${wide} |`],
  ['a block of code', 'a.md', `\`\`\`sh\n${wide}\n\`\`\``],
  ['what just fits', 'a.md', `${'a '.repeat(MAX_WIDTH / 2 - 1)}aa`],
])('%s may', (_what, file, text) => {
  expect(tooWide(file, text)).toEqual([])
})
