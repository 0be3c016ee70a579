/**
 * Puts the console page into what was compiled: in place of the call that reads src/pages/console.html, on
 * the same line, so that the source maps hold.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './paths.mjs'

/** The statement of `consoleHtml` in src/pages/console-html.ts, as the compiler has written it. */
const READING = /^( *return ).*readFileSync\)?\(.*$/m

/**
 * To be called after the compiler.
 * @param {string} folder below dist/, such as `pages`
 */
export function inlineConsolePage(folder) {
  const file = join(root, 'dist', folder, 'console-html.js')
  const text = JSON.stringify(readFileSync(join(root, 'src', 'pages', 'console.html'), 'utf8'))
  const compiled = readFileSync(file, 'utf8')
  if (!READING.test(compiled))
    throw new Error(`${file} does not read the console page as scripts/install/console-page.mjs expects`)
  writeFileSync(
    file,
    compiled.replace(READING, (_line, begin) => `${begin}${text};`),
  )
}
