/**
 * Builds and runs the unit tests of native/server: a program without Node, which reports as TAP.
 *
 * `--sanitize` does so under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, in build/sanitize, and then runs
 * the tests of test/ against an addon that was built likewise. What follows goes to Vitest, for example
 * `npm run test:sanitize -- test/listening.test.ts`.
 *
 * The reports are build/reports/native.tap, native-sanitize.tap and vitest-sanitize.json.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import process from 'node:process'
import { runCmakeJs } from './install/native.mjs'
import { buildDirectory, root } from './install/paths.mjs'
import { run, which } from './install/processes.mjs'
import { paragraphs } from './install/report.mjs'
import { findSources } from './install/sources.mjs'
import { checkTools } from './install/tools.mjs'

const sanitize = process.argv.includes('--sanitize')
const vitestArguments = process.argv.slice(2).filter((argument) => argument !== '--sanitize')
const folder = sanitize ? join(buildDirectory, 'sanitize') : buildDirectory
const reports = join(buildDirectory, 'reports')

/** Tests that load no addon, or do nothing with it that others do not: the sanitizers would only slow them down. */
const LEFT_OUT = [
  ...['cli', 'descriptors', 'echo', 'readme'].map((name) => `test/app/${name}.test.ts`),
  'test/unit/**',
  'test/certificate.test.ts',
  'test/docs.test.ts',
  'test/install.test.ts',
  'test/package.test.ts',
]

const sources = findSources()
const tools = checkTools()
const missing = [...sources.missing, ...tools.missing]
if (!sources.directory || missing.length > 0) fail(paragraphs(missing))

mkdirSync(reports, { recursive: true })
console.log(`Building ${sanitize ? 'the addon and the unit tests with sanitizers' : 'the unit tests'} …`)
const definitions = sanitize ? ['SANITIZE=ON'] : []
const failure = runCmakeJs(folder, tools, { definitions, env: { UWEBSOCKETS_DIR: sources.directory } })
if (failure) fail(failure)
const built = run([which('cmake') ?? 'cmake', '--build', folder, '--target', 'native_tests'])
if (!built.ok)
  fail(
    `${built.output}\n\nThe unit tests need libuv's library as well: Debian, Ubuntu: apt-get install libuv1-dev; Fedora: dnf install libuv-devel; Alpine: apk add libuv-dev; macOS: brew install libuv.`,
  )

const unitsPass = runUnitTests()
const addonPasses = !sanitize || runAddonTests()
process.exit(unitsPass && addonPasses ? 0 : 1)

function runUnitTests() {
  const report = join(reports, sanitize ? 'native-sanitize.tap' : 'native.tap')
  const program = join(folder, 'native_tests')
  const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' }
  const { status, signal, stdout } = spawnSync(program, {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.stdout.write(stdout)
  writeFileSync(report, stdout)
  if (status !== 0) console.error(`native_tests ended with ${signal ?? `exit code ${status}`}`)
  return status === 0
}

function runAddonTests() {
  const env = {
    ...process.env,
    ...preload(tools.cxx ?? []),
    NATIVE_WEBSOCKET_SERVER_ADDON: join(folder, 'Release', 'native_websocket_server.node'),
    NATIVE_WEBSOCKET_SERVER_REQUIRE_NATIVE: '1',
    // Node itself frees little when it exits: leaks are looked for in the unit tests above.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  }
  const report = `--outputFile.json=${join(reports, 'vitest-sanitize.json')}`
  const excluded = LEFT_OUT.flatMap((file) => ['--exclude', file])
  const vitest = [
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    report,
    ...excluded,
  ]
  const { status } = spawnSync(process.execPath, [...vitest, ...vitestArguments], { cwd: root, env, stdio: 'inherit' })
  return status === 0
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
function fail(problem) {
  console.error(problem)
  process.exit(1)
}
