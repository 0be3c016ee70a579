/** Builds of the addon for tests: with sanitizers, and how Node is started with one. */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import process from 'node:process'
import { runCmakeJs } from './install/native.mjs'
import { buildDirectory } from './install/paths.mjs'
import { run, which } from './install/processes.mjs'
import { paragraphs } from './install/report.mjs'
import { findSources } from './install/sources.mjs'
import { checkTools } from './install/tools.mjs'

/** Where test reports go. */
export const reports = join(buildDirectory, 'reports')

/**
 * The folder of the installed AWS-LC that AWS_LC_ROOT_DIR names. Where it names sources instead, they are
 * built, and installed in build/aws-lc-library: whole the first time, after that what has changed. Ends the
 * process where that fails.
 */
function findAwsLc() {
  const named = process.env.AWS_LC_ROOT_DIR
  if (!named) return fail('AWS_LC_ROOT_DIR names neither an installed AWS-LC nor its sources')
  if (!existsSync(join(named, 'CMakeLists.txt'))) return resolve(named)
  const directory = realpathSync(named)
  console.log(`Building AWS-LC from ${directory} …`)
  const folder = join(buildDirectory, 'aws-lc-library')
  const installed = join(folder, 'installed')
  if (rememberedBy(folder, 'CMAKE_HOME_DIRECTORY') !== directory) rmSync(folder, { recursive: true, force: true })
  const definitions = [
    'BUILD_TESTING=OFF',
    'BUILD_TOOL=OFF',
    'DISABLE_GO=ON',
    'DISABLE_PERL=ON',
    'CMAKE_POSITION_INDEPENDENT_CODE=ON',
  ]
  definitions.push('BUILD_SHARED_LIBS=OFF', 'CMAKE_BUILD_TYPE=Release', 'CMAKE_INSTALL_LIBDIR=lib')
  definitions.push(`CMAKE_INSTALL_PREFIX=${installed}`)
  for (const step of [
    ['-S', directory, '-B', folder, ...definitions.map((definition) => `-D${definition}`)],
    ['--build', folder, '--parallel', String(availableParallelism())],
    ['--install', folder],
  ]) {
    const done = run([which('cmake') ?? 'cmake', ...step])
    if (!done.ok) fail(`AWS-LC was not built.\n\n${done.output}`)
  }
  return installed
}

/**
 * Builds the addon and one more target, or ends the process with what is missing or wrong. Gives the build's
 * folder, which each TLS library has its own of.
 * @param {{ sanitize: boolean, awsLc?: boolean, target?: string, help?: string }} what `awsLc`: with the
 *   AWS-LC that AWS_LC_ROOT_DIR names; `help` is said where the target cannot be built
 */
export function buildForTests({ sanitize, awsLc = false, target, help = '' }) {
  const folder = join(buildDirectory, awsLc ? 'aws-lc' : '', sanitize ? 'sanitize' : '')
  if (awsLc) {
    const library = findAwsLc()
    process.env.OPENSSL_ROOT_DIR = library
    // CMake stays with the library that it has found first.
    if (rememberedBy(folder, 'OPENSSL_ROOT_DIR') !== library) rmSync(folder, { recursive: true, force: true })
  }
  const sources = findSources()
  const tools = checkTools()
  const missing = [...sources.missing, ...tools.missing]
  if (!sources.directory || missing.length > 0) fail(paragraphs(missing))
  mkdirSync(reports, { recursive: true })
  const definitions = sanitize ? ['SANITIZE=ON'] : []
  const failure = runCmakeJs(folder, tools, { definitions, env: { UWEBSOCKETS_DIR: sources.directory } })
  if (failure) fail(failure)
  if (target !== undefined) {
    const built = buildTarget(folder, target)
    if (!built.ok) fail(`${built.output}\n\n${help}`)
  }
  return folder
}

/**
 * Builds one target of a folder that is configured, on all cores.
 * @param {string} folder
 * @param {string} target
 */
export function buildTarget(folder, target) {
  return run([which('cmake') ?? 'cmake', '--build', folder, '--target', target, '--parallel', String(availableParallelism())])
}

/**
 * A variable in the cache of a CMake build; undefined where there is none.
 * @param {string} folder
 * @param {string} variable
 */
function rememberedBy(folder, variable) {
  const file = join(folder, 'CMakeCache.txt')
  const cache = existsSync(file) ? readFileSync(file, 'utf8') : ''
  return new RegExp(`^${variable}:[A-Z]+=(.*)$`, 'm').exec(cache)?.[1]
}

/**
 * The environment in which Node runs with the addon of a build; without one, that of this process.
 * @param {string | undefined} folder
 */
export function addonEnvironment(folder) {
  if (folder === undefined) return process.env
  return {
    ...process.env,
    NATIVE_WEBSOCKET_SERVER_ADDON: join(folder, 'Release', 'native_websocket_server.node'),
    NATIVE_WEBSOCKET_SERVER_REQUIRE_NATIVE: '1',
  }
}

/**
 * The same for a build with sanitizers.
 * @param {string} folder
 * @param {string} asanOptions
 */
export function sanitizerEnvironment(folder, asanOptions) {
  return {
    ...addonEnvironment(folder),
    ...preload(checkTools().cxx ?? []),
    ASAN_OPTIONS: asanOptions,
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  }
}

/**
 * AddressSanitizer must be loaded before anything else, and Node was not built with it.
 * @param {readonly string[]} compiler
 */
function preload(compiler) {
  if (process.platform === 'darwin') return fail('macOS keeps DYLD_INSERT_LIBRARIES from Node: the sanitizer run needs Linux.')
  const names = ['libasan.so', `libclang_rt.asan-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}.so`]
  const libraries = names.map((name) => run([...compiler, `-print-file-name=${name}`]).output)
  const library = libraries.find((path) => isAbsolute(path) && existsSync(path))
  return library ? { LD_PRELOAD: library } : fail(`${compiler.join(' ')} has none of ${names.join(', ')}`)
}

/**
 * @param {string} problem
 * @returns {never}
 */
export function fail(problem) {
  console.error(problem)
  process.exit(1)
}

/**
 * Prints what was checked as TAP (Test Anything Protocol), writes the same into the reports as `<name>.tap`,
 * and ends the process: with 1 when a check has failed.
 * @param {string} name
 * @param {{ name: string, problem: string | undefined }[]} checks
 * @returns {never}
 */
export function endWithReport(name, checks) {
  const lines = checks.flatMap(({ name: check, problem }, index) =>
    problem === undefined
      ? [`ok ${index + 1} - ${check}`]
      : [`not ok ${index + 1} - ${check}`, ...problem.split('\n').map((line) => `# ${line}`)],
  )
  const report = ['TAP version 13', `1..${checks.length}`, ...lines, ''].join('\n')
  process.stdout.write(report)
  writeFileSync(join(reports, `${name}.tap`), report)
  process.exit(checks.every(({ problem }) => problem === undefined) ? 0 : 1)
}
