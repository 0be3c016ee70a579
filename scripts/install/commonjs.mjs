/**
 * Finishes the CommonJS build in dist/cjs, which programs get where Node.js cannot `require` ES modules
 * (before 20.19 and 22.12, and in Jest). So that these have one copy of the package's state, `import` gets
 * the same build there: through a module of ES syntax that the compiler does not make.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './paths.mjs'

const folder = join(root, 'dist', 'cjs')
/** What package.json exports, without extensions. */
const ENTRIES = [
  'index',
  'backplane/nats',
  'backplane/redis',
  'backplane/threads',
  'faces/crossws',
  'faces/http',
  'faces/uws',
  'faces/ws',
]

/** To be called after `tsc -p tsconfig.cjs.json`. */
export function finishCommonJs() {
  writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }\n')
  for (const extension of ['.js', '.js.map', '.d.ts', '.d.ts.map']) placeLocation(extension)
  const require = createRequire(join(folder, 'index.js'))
  for (const entry of ENTRIES) {
    const names = Object.keys(require(join(folder, `${entry}.js`)))
    const named = names.filter((name) => name !== 'default')
    const file = `./${entry.replace(/^.*\//, '')}.js`
    const lines = [`import module from '${file}'`]
    if (named.length > 0) lines.push(`export const { ${named.join(', ')} } = module`)
    if (names.includes('default')) lines.push('export default module.default')
    writeFileSync(join(folder, `${entry}.mjs`), `${lines.join('\n')}\n`)
  }
}

/**
 * Of two sources for one module, the compiler has taken `location.commonjs.ts` for its types; what is emitted
 * asks for `location.js`.
 * @param {string} extension
 */
function placeLocation(extension) {
  const place = (/** @type {string} */ name) => join(folder, 'engine', 'native', `${name}${extension}`)
  renameSync(place('location.commonjs'), place('location'))
  const content = readFileSync(place('location'), 'utf8')
  writeFileSync(place('location'), content.replace('sourceMappingURL=location.commonjs', 'sourceMappingURL=location'))
}
