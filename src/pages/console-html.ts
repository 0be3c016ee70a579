/** The text of `console.html`, which lies beside this file in `src/`. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { LOCATION } from '../engine/native/location.js'

/** In `dist/` the build has put the text itself here: a copy of it or a bundle needs no file. */
export function consoleHtml(): string {
  return readFileSync(fileURLToPath(new URL('../../pages/console.html', LOCATION)), 'utf8')
}
