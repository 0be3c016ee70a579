/** Where this code is, as a URL: `location.ts` for the CommonJS build (tsconfig.cjs.json). */
import { pathToFileURL } from 'node:url'

export const LOCATION: string | undefined = pathToFileURL(__filename).href
