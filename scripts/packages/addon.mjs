/** Builds an addon that other machines can load, and says what it asks of them. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { runCmakeJs } from '../install/native.mjs'
import { buildDirectory } from '../install/paths.mjs'
import { run } from '../install/processes.mjs'
import { paragraphs } from '../install/report.mjs'
import { findSources } from '../install/sources.mjs'
import { checkTools } from '../install/tools.mjs'

/** Beside the packages: this build has other settings than the one in build/. */
const folder = join(buildDirectory, 'packages', 'cmake')

/** What Node.js 20 itself asks for (BUILDING.md in its sources): no addon has to run below it. */
const MAX_GLIBC = '2.28'

/**
 * @typedef {object} Built
 * @property {string} file the addon
 * @property {number} bytes its size
 * @property {string} openssl the version compiled in, for example `OpenSSL 3.0.17 1 Jul 2025`
 * @property {string} [glibc] on Linux with glibc: the oldest one that the addon loads with
 * @property {string} upstream the folder with the µWebSockets sources
 * @property {string} zlibHeader the file zlib.h
 */

/** @returns {Built} */
export function buildForOthers() {
  const sources = findSources()
  const tools = checkTools()
  const missing = [...sources.missing, ...tools.missing]
  if (!sources.directory || missing.length > 0) throw new Error(paragraphs(missing))
  const failure = runCmakeJs(folder, tools, { definitions: ['PREBUILT=ON'], env: { UWEBSOCKETS_DIR: sources.directory } })
  if (failure) throw new Error(`The build failed.\n\n${failure}`)

  const file = join(folder, 'Release', 'native_websocket_server.node')
  const loading = run([process.execPath, '-e', 'require(process.argv[1])', file])
  if (!loading.ok) throw new Error(`Node cannot load the addon.\n\n${loading.output}`)
  const glibc = process.platform === 'linux' ? oldestGlibc(file) : undefined
  return {
    file,
    bytes: statSync(file).size,
    openssl: opensslVersion(),
    ...(glibc && { glibc }),
    upstream: sources.directory,
    zlibHeader: join(cached('ZLIB_INCLUDE_DIR', 'PATH'), 'zlib.h'),
  }
}

/**
 * What decides: the newest version of a function of glibc that the addon takes. Undefined where it takes
 * none, as with musl. Throws where that is newer than what Node itself asks for, or where another library is
 * needed than those that every Node has loaded.
 * @param {string} file
 */
function oldestGlibc(file) {
  const { ok, output } = run(['objdump', '-p', file])
  if (!ok) throw new Error(`objdump (from binutils) cannot read the addon: ${output}`)
  const libraries = [...output.matchAll(/NEEDED +(\S+)/g)].map(([, name = '']) => name)
  const foreign = libraries.filter((name) => !/^(libc|libgcc_s|ld-linux-.*|libm|libdl|libpthread|libc\.musl-.*)\.so/.test(name))
  if (foreign.length > 0) throw new Error(`The addon needs ${foreign.join(', ')}, which other systems may not have.`)
  const versions = [...output.matchAll(/\bGLIBC_(\d[\d.]*)/g)].map(([, version = '']) => version)
  const [newest] = versions.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  if (newest !== undefined && newest.localeCompare(MAX_GLIBC, 'en', { numeric: true }) > 0) {
    const { output: symbols } = run(['objdump', '-T', file])
    const lines = symbols.split('\n').filter((line) => line.includes(`(GLIBC_${newest})`))
    throw new Error(
      `The addon needs glibc ${newest}; native/prebuilt/older_glibc.c must wrap what is newer than ${MAX_GLIBC}:\n${lines.join('\n')}`,
    )
  }
  return newest
}

function opensslVersion() {
  const header = readFileSync(join(cached('OPENSSL_INCLUDE_DIR', 'PATH'), 'openssl', 'opensslv.h'), 'utf8')
  const text = /OPENSSL_VERSION_TEXT +"([^"]+)"/.exec(header)?.[1]
  if (text === undefined)
    throw new Error('Packages are made with OpenSSL: scripts/packages/licences.mjs has the licences of no other TLS library.')
  return text
}

/**
 * @param {string} name
 * @param {string} type
 */
function cached(name, type) {
  const cache = readFileSync(join(folder, 'CMakeCache.txt'), 'utf8')
  const value = new RegExp(`^${name}:${type}=(/.*)$`, 'm').exec(cache)?.[1]
  if (value === undefined) throw new Error(`CMake has not found ${name}.`)
  return value
}
