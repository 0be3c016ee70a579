/** `npm run certs`: makes the development certificate that `npm start` would make, in certs/. */
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { root } from './install/paths.mjs'

const compiled = join(root, 'dist', 'app', 'certificate.js')
if (!existsSync(compiled)) {
  console.error('dist/app/certificate.js is missing: run "npm run build:ts" first.')
  process.exit(1)
}
const { ensureCertificate, VALIDITY_DAYS } = await import(pathToFileURL(compiled).href)

const key = join(root, 'certs', 'key.pem')
const cert = join(root, 'certs', 'cert.pem')
try {
  const made = ensureCertificate(key, cert)
  const names = [key, cert].map((path) => relative(process.cwd(), path)).join(' and ')
  console.log(
    made ? `Made ${names}: for localhost, valid for ${VALIDITY_DAYS} days.` : `${names} exist already; they stay as they are.`,
  )
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
}
