/** Where things are, and which core does what. */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const benchDirectory = dirname(dirname(fileURLToPath(import.meta.url)))
export const resultsDirectory = join(benchDirectory, 'results')
export const certificate = {
  key: join(resultsDirectory, 'keys', 'key.pem'),
  cert: join(resultsDirectory, 'keys', 'cert.pem'),
}
export const generator = join(benchDirectory, 'build', 'load')

/** Servers and the generator never share a core. */
export const SERVER_CORE = 0
export const GENERATOR_CORE = 1
