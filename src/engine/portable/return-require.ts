/** Evaluated after the package `ws`: takes back what `lend-require.ts` has lent. */
import { isLent } from './lend-require.js'

if (isLent) Reflect.deleteProperty(globalThis, 'require')
