/**
 * Evaluated before the package `ws`, whose modules are CommonJS. Where esbuild makes ES modules, these look
 * for a global `require`, and throw `Dynamic require of "events" is not supported` where there is none. So a
 * bundle has one until `return-require.ts` is evaluated. Only `ws` is evaluated in between, in the same turn.
 */
import { LOCATION } from '../native/location.js'
import { requireFrom } from '../native/require.js'

/** Code that is in no bundle is in a file of this name, and `ws` has Node's own `require`. */
const isBundled = LOCATION?.startsWith('file:') === true && !/\/location\.[jt]s(\?|$)/.test(LOCATION)

/** Whether there is now a `require` that there was not. */
export const isLent = isBundled && !('require' in globalThis)
if (isLent) Object.defineProperty(globalThis, 'require', { value: requireFrom(LOCATION ?? ''), configurable: true })
