/** Builds the addon with cmake-js, and knows whether the one that is there is still the one wanted. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import process from 'node:process'
import { addonFile, buildDirectory, logFile, root, stateFile } from './paths.mjs'
import { run } from './processes.mjs'
import { findCompiler, findNodeUvHeader } from './tools.mjs'

/** What cmake-js is told everywhere: one generator, because two cannot share a build folder. */
const GENERATOR = 'Unix Makefiles'
/** Environment variables that change what is built. */
const VARIABLES = ['CC', 'CXX', 'CFLAGS', 'LDFLAGS', 'OPENSSL_ROOT_DIR', 'CMAKE_PREFIX_PATH']
/** In CMake's cache: the libraries of the system that become part of the addon. */
const LIBRARY_VARIABLES = ['OPENSSL_SSL_LIBRARY', 'OPENSSL_CRYPTO_LIBRARY', 'ZLIB_STATIC_LIBRARY', 'ZLIB_LIBRARY_RELEASE']
/** Loads the addon that is named, and prints which TLS library is in it and how old that is. */
const LOAD = `const { version, builtOn } = require(process.argv[1]).openssl ?? {}
if (version) console.log(version + (builtOn && ', compiled on ' + builtOn))`
/** Lines of a failed build's output that are printed; the log has all of it. */
const PRINTED_LINES = 200

const require = createRequire(join(root, 'package.json'))

/**
 * @typedef {readonly [path: string, size?: string, mtimeMs?: string]} Library
 * @typedef {{ toolchain?: string, inputs?: string, libraries?: readonly Library[] }} State
 */

/**
 * Whether the addon is there and was built from exactly these sources with this compiler and these libraries.
 * Node's version does not matter: the addon uses Node-API.
 * @param {string} upstream
 */
export function isUpToDate(upstream) {
  const state = readState()
  return existsSync(addonFile) && state.inputs === inputsOf(upstream) && hasSameLibraries(state)
}

/** Nothing may load an addon that the last install did not build. */
export function removeAddon() {
  rmSync(addonFile, { force: true })
}

/**
 * Builds and loads the addon. `problem` is the whole story of a failure; `tlsLibrary` is what the addon says
 * of OpenSSL, or AWS-LC: which, and how old.
 * @param {string} upstream
 * @param {import('./tools.mjs').Tools} tools
 * @returns {{ seconds: number, problem?: string, tlsLibrary?: string }}
 */
export function buildNative(upstream, tools) {
  const start = performance.now()
  const toolchain = toolchainOf(upstream)
  const inputs = inputsOf(upstream)
  // Neither CMake's cache nor make's time stamps survive another compiler or other upstream sources. An
  // updated library may well be older than what was built from the one before, and its headers come with it.
  const state = readState()
  if (state.toolchain !== toolchain || !hasSameLibraries(state)) rmSync(buildDirectory, { recursive: true, force: true })
  writeState({ toolchain })

  const failure = runCmakeJs(buildDirectory, tools, { env: { UWEBSOCKETS_DIR: upstream } })
  const libraries = librariesOfBuild().map(describeLibrary)
  writeState({ toolchain, libraries })
  const seconds = Math.round((performance.now() - start) / 1000)
  if (failure)
    return { seconds, problem: `The native build failed.\n\n${excerpt(failure)}\n\nThe whole output is in ${logFile}.` }

  const loading = run([process.execPath, '-e', LOAD, addonFile])
  if (!loading.ok) return { seconds, problem: `The addon was built, but Node cannot load it.\n\n${loading.output}` }
  writeState({ toolchain, libraries, inputs })
  return { seconds, tlsLibrary: loading.output }
}

/**
 * Configures and builds with cmake-js in `folder`, and keeps the output in its install.log. Returns what the
 * step that failed printed, or undefined.
 * @param {string} folder
 * @param {import('./tools.mjs').Tools} tools
 * @param {{ definitions?: readonly string[], target?: string, env?: NodeJS.ProcessEnv }} [options]
 *   definitions: `NAME=value`, for CMake; target: the only one that is built. Default: the addon
 * @returns {string | undefined}
 */
export function runCmakeJs(folder, tools, { definitions = [], target, env = {} } = {}) {
  const script = join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js')
  const args = ['--directory', root, '--out', folder, '--config', 'Release', '--generator', GENERATOR]
  args.push('--parallel', String(availableParallelism()))
  // A compiler with arguments is left to CMake, which reads CC and CXX itself.
  const [cc, cxx] = [tools.cc ?? [], tools.cxx ?? []]
  if (cc.length === 1 && cxx.length === 1) args.push('--cc', cc.join(), '--cxx', cxx.join())
  args.push(`--CDNODE_EXECUTABLE=${process.execPath}`, ...definitions.map((definition) => `--CD${definition}`))
  if (tools.uvIncludeDirectory) args.push(`--CDUV_INCLUDE_DIR=${tools.uvIncludeDirectory}`)
  if (tools.opensslRoot) args.push(`--CDOPENSSL_ROOT_DIR=${tools.opensslRoot}`)

  const file = join(folder, basename(logFile))
  mkdirSync(folder, { recursive: true })
  const log = openSync(file, 'w')
  try {
    for (const step of ['configure', 'build']) {
      const before = statSync(file).size
      const command = [script, step, ...args, ...(step === 'build' && target !== undefined ? ['--target', target] : [])]
      const { status } = spawnSync(process.execPath, command, {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ['ignore', log, log],
      })
      if (status !== 0) return readFileSync(file).subarray(before).toString()
    }
  } finally {
    closeSync(log)
  }
  return undefined
}

/**
 * What CMake remembers and cannot change its mind about.
 * @param {string} upstream
 */
function toolchainOf(upstream) {
  const compilers = [findCompiler('CC', ['cc', 'gcc', 'clang']), findCompiler('CXX', ['c++', 'g++', 'clang++'])]
  const identities = compilers.map(({ command }) => (command?.[0] ? [...command, ...identity(realpathSync(command[0]))] : []))
  const variables = VARIABLES.map((name) => process.env[name] ?? '')
  return digest([process.platform, process.arch, root, upstream, findNodeUvHeader() ?? '', ...identities.flat(), ...variables])
}

/**
 * Everything that the addon is made from. Our own sources count by content; upstream's, which are never
 * edited, by size and time.
 * @param {string} upstream
 */
function inputsOf(upstream) {
  const own = [join(root, 'CMakeLists.txt'), ...filesBelow(join(root, 'native'))].flatMap((file) => [
    file,
    readFileSync(file, 'utf8'),
  ])
  const theirs = [
    join(upstream, 'uSockets', 'Makefile'),
    ...filesBelow(join(upstream, 'src')),
    ...filesBelow(join(upstream, 'uSockets', 'src')),
  ]
  const headers = require.resolve('node-addon-api/package.json')
  return digest([
    toolchainOf(upstream),
    ...own,
    ...theirs.flatMap((file) => [file, ...identity(file)]),
    readFileSync(headers, 'utf8'),
  ])
}

/**
 * Whether the libraries that the last build took are still the same: a security update of OpenSSL must reach
 * the addon.
 * @param {State} state
 */
function hasSameLibraries({ libraries }) {
  return libraries?.every((library) => JSON.stringify(library) === JSON.stringify(describeLibrary(library[0]))) ?? false
}

/** What CMake has found, by its own account. */
function librariesOfBuild() {
  const file = join(buildDirectory, 'CMakeCache.txt')
  const cache = existsSync(file) ? readFileSync(file, 'utf8') : ''
  return LIBRARY_VARIABLES.map((name) => new RegExp(`^${name}:FILEPATH=(/.*)$`, 'm').exec(cache)?.[1]).filter(
    (path) => path !== undefined,
  )
}

/**
 * @param {string} path
 * @returns {Library}
 */
function describeLibrary(path) {
  if (!existsSync(path)) return [path]
  const [size, time] = identity(path)
  return [path, size, time]
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesBelow(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

/**
 * @param {string} file
 * @returns {[size: string, mtimeMs: string]}
 */
function identity(file) {
  const { size, mtimeMs } = statSync(file)
  return [String(size), String(mtimeMs)]
}

/** @param {readonly string[]} parts */
function digest(parts) {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/** @returns {State} */
function readState() {
  try {
    return JSON.parse(readFileSync(stateFile, 'utf8'))
  } catch {
    return {}
  }
}

/** @param {State} state */
function writeState(state) {
  mkdirSync(buildDirectory, { recursive: true })
  writeFileSync(stateFile, `${JSON.stringify(state)}\n`)
}

/**
 * The part of a build's output with the first error in it.
 * @param {string} output
 */
function excerpt(output) {
  const lines = output.trimEnd().split('\n')
  if (lines.length <= PRINTED_LINES) return lines.join('\n')
  const error = lines.findIndex((line) => /\berror\b|\bundefined reference\b/i.test(line))
  const first = error < 0 ? lines.length - PRINTED_LINES : Math.max(0, error - 10)
  return lines.slice(first, first + PRINTED_LINES).join('\n')
}
