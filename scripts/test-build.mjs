/** Builds of the addon for tests: with sanitizers, and how Node is started with one. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
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
 * Builds the addon and one more target, or ends the process with what is missing or wrong. Gives the build's
 * folder, which each TLS library has its own of: the environment's OPENSSL_ROOT_DIR must name `awsLc`.
 * @param {{ sanitize: boolean, awsLc?: boolean, target?: string, help?: string }} what `help` is said where
 *   the target cannot be built
 */
export function buildForTests({ sanitize, awsLc = false, target, help = '' }) {
  const folder = join(buildDirectory, awsLc ? 'aws-lc' : '', sanitize ? 'sanitize' : '')
  const sources = findSources()
  const tools = checkTools()
  const missing = [...sources.missing, ...tools.missing]
  if (!sources.directory || missing.length > 0) fail(paragraphs(missing))
  mkdirSync(reports, { recursive: true })
  const definitions = sanitize ? ['SANITIZE=ON'] : []
  const failure = runCmakeJs(folder, tools, { definitions, env: { UWEBSOCKETS_DIR: sources.directory } })
  if (failure) fail(failure)
  if (target !== undefined) {
    const built = run([which('cmake') ?? 'cmake', '--build', folder, '--target', target])
    if (!built.ok) fail(`${built.output}\n\n${help}`)
  }
  return folder
}

/**
 * The environment in which Node runs with the addon of a build.
 * @param {string} folder
 */
export function addonEnvironment(folder) {
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
