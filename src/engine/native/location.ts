/**
 * Where this code is, as a URL: `undefined` in bundles that make CommonJS of ES modules. In the CommonJS
 * build `location.commonjs.ts` takes this place.
 */
export const LOCATION: string | undefined = import.meta.url
