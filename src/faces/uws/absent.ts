/** Functions of uWebSockets.js that this face has not: they can be imported, and throw NotSupportedError. */
import { NotSupportedError } from '../../index.js'

/** Values that all threads of the process share, which uWebSockets.js documents nowhere. */
const STORE = 'keep the value in a SharedArrayBuffer, or send it by `postMessage`'

function absent(member: string, instead: string): () => never {
  return () => {
    throw new NotSupportedError(member, instead)
  }
}

export const H3App = absent('H3App', 'no engine speaks HTTP/3, use SSLApp')
export const getParts = absent('getParts', 'let a `Response` of the body and its content-type parse it: `formData`')
export const getString = absent('getString', STORE)
export const setString = absent('setString', STORE)
export const deleteString = absent('deleteString', STORE)
export const getStringKeys = absent('getStringKeys', STORE)
export const deleteStringCollection = absent('deleteStringCollection', STORE)
export const getInteger = absent('getInteger', STORE)
export const setInteger = absent('setInteger', STORE)
export const incInteger = absent('incInteger', STORE)
export const deleteInteger = absent('deleteInteger', STORE)
export const getIntegerKeys = absent('getIntegerKeys', STORE)
export const deleteIntegerCollection = absent('deleteIntegerCollection', STORE)
export const arm = absent('arm', 'use setTimeout of Node.js')
export const setTimeout = absent('setTimeout', 'use the global one')
export const clearTimeout = absent('clearTimeout', 'use the global one')
export const lock = absent('lock', 'use Atomics')
export const unlock = absent('unlock', 'use Atomics')

/** Keeps uWebSockets.js from writing about itself (`silent`), which this package does not do. */
export function _cfg(setting: unknown): void {
  if (setting !== 'silent') throw new NotSupportedError(`_cfg of ${String(setting)}`, "use this package's options")
}
