/**
 * Reads declaration files as the TypeScript compiler writes them: each statement with the docstring before
 * it. That is one style, without surprises, so that a scanner of comments, strings and brackets is enough.
 */

/**
 * A statement, or a member of one.
 * @typedef {object} Declaration
 * @property {string} doc its docstring, without the stars; empty when there is none
 * @property {string} text the declaration without comments, on one line
 * @property {string} source the same as it is written, comments included
 */

/**
 * The statements of a declaration file, or the members of a body.
 * @param {string} text
 * @returns {Declaration[]}
 */
export function statements(text) {
  /** @type {Declaration[]} */
  const found = []
  let doc = ''
  let start = 0
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const isBlank = text.slice(start, at).trim() === ''
    if (text.startsWith('//', at)) {
      at = end(text, '\n', at) - 1
      if (isBlank) start = at + 1
    } else if (text.startsWith('/*', at)) {
      const close = end(text, '*/', at)
      if (isBlank) {
        doc = text.startsWith('/**', at) ? docstring(text.slice(at + 3, close - 2)) : doc
        start = close
      }
      at = close - 1
    } else if (/['"`]/.test(text[at] ?? '')) {
      at = end(text, text[at] ?? '', at + 1) - 1
    } else if (/[{([]/.test(text[at] ?? '')) {
      depth++
    } else if (/[})\]]/.test(text[at] ?? '')) {
      depth--
      // The body of an interface or class ends its statement; the braces of a type do not.
      if (
        depth === 0 &&
        text[at] === '}' &&
        /^\s*(export )?(declare )?(abstract )?(interface|class)\b/.test(text.slice(start, at))
      )
        take(at + 1)
    } else if (text[at] === ';' && depth === 0) {
      take(at)
      start = at + 1
    }
  }
  return found

  /** @param {number} to */
  function take(to) {
    const source = text.slice(start, to).trim()
    if (source) found.push({ doc, text: withoutComments(source), source })
    doc = ''
    start = to
  }
}

/**
 * What is between the outermost braces.
 * @param {string} source
 */
export function bodyOf(source) {
  const plain = source.replace(/\/\*[\s\S]*?\*\//g, (comment) => ' '.repeat(comment.length))
  return source.slice(plain.indexOf('{') + 1, plain.lastIndexOf('}'))
}

/**
 * The position behind the next occurrence.
 * @param {string} text
 * @param {string} what
 * @param {number} from
 */
function end(text, what, from) {
  const at = text.indexOf(what, from)
  return at < 0 ? text.length : at + what.length
}

/** @param {string} comment */
function docstring(comment) {
  return comment
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
    .join('\n')
    .trim()
}

/** @param {string} source */
function withoutComments(source) {
  return source
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\s+/g, ' ')
    .trim()
}
