/** How wide prose may be: comments and Markdown. Code is for the formatters, which allow it more. */

/** Columns. */
export const MAX_WIDTH = 110

const COMMENT = /^\s*(\/\/|\/\*|\*)/
/** Behind code. What comes before must not be in the middle of a string. */
const BEHIND_CODE = /^([^'"`]|'[^']*'|"[^"]*"|`[^`]*`)*\s\/\/ /

/**
 * The numbers of the lines that are too wide. Tables, code blocks and lines without a blank to wrap at may be
 * wider.
 * @param {string} file
 * @param {string} text
 * @returns {number[]}
 */
export function tooWide(file, text) {
  const isMarkdown = file.endsWith('.md')
  let isInBlock = false
  /** @type {number[]} */
  const numbers = []
  for (const [index, line] of text.split('\n').entries()) {
    if (isMarkdown && line.trimStart().startsWith('```')) isInBlock = !isInBlock
    if (line.length <= MAX_WIDTH) continue
    const isProse = isMarkdown ? !isInBlock && !line.trimStart().startsWith('|') : COMMENT.test(line) || BEHIND_CODE.test(line)
    const canBeWrapped = line
      .trim()
      .slice(0, MAX_WIDTH)
      .replace(/`[^`]*(`|$)/g, 'code')
      .replace(/^(\/\/\/?|\*|[-*]|\d+\.) /, '')
      .includes(' ')
    if (isProse && canBeWrapped) numbers.push(index + 1)
  }
  return numbers
}
