/**
 * Builds and runs the unit tests of native/server: a program without Node, which reports as TAP. Those of the
 * hub between threads run once more, in a program of their own, under ThreadSanitizer.
 *
 * `--sanitize` does so under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, in
 * build/sanitize, and then runs the tests of test/, those of the native engine, against an addon that was
 * built likewise. What follows goes to Vitest, for example `npm run test:sanitize --
 * test/core/listening.test.ts`.
 *
 * `--aws-lc` does all that with the AWS-LC that AWS_LC_ROOT_DIR names, in build/aws-lc: the unit tests, and
 * those of test/ that load the addon, or those that are named. The variable names a folder with AWS-LC's
 * include/ and lib/, or with its sources, which are then built. Without it nothing is built, and the report
 * is one skipped test.
 *
 * The reports are build/reports/native.tap, native-threads.tap, native-sanitize.tap and vitest-sanitize.json;
 * with AWS-LC native-aws-lc.tap and vitest-aws-lc.json, with sanitizers native-aws-lc-sanitize.tap and
 * vitest-aws-lc-sanitize.json.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { root } from './install/paths.mjs'
import { run, which } from './install/processes.mjs'
import { addonEnvironment, buildForTests, buildTarget, reports, sanitizerEnvironment } from './test-build.mjs'

const sanitize = process.argv.includes('--sanitize')
const awsLc = process.argv.includes('--aws-lc')
const vitestArguments = process.argv.slice(2).filter((argument) => !['--sanitize', '--aws-lc'].includes(argument))
/** What the names of the reports end in. */
const kind = `${awsLc ? '-aws-lc' : ''}${sanitize ? '-sanitize' : ''}`

/**
 * Tests that load no addon, or do nothing with it that others do not: the sanitizers would only slow them
 * down. And the one that measures memory, of which the sanitizers keep what was freed.
 */
const LEFT_OUT = [
  ...['cli', 'descriptors', 'doctor', 'echo', 'readme'].map((name) => `test/app/${name}.test.ts`),
  'test/**/*.unit.test.ts',
  'test/app/certificate.test.ts',
  'test/app/deployment.test.ts',
  'test/app/tutorial.test.ts',
  'test/backplane/broker-tls.test.ts',
  'test/backplane/every-byte.test.ts',
  'test/backplane/hosts.test.ts',
  'test/backplane/redis-cluster.test.ts',
  'test/package/docs.test.ts',
  'test/package/examples.test.ts',
  'test/core/held-memory.test.ts',
  'test/package/install.test.ts',
  'test/package/package.test.ts',
  'test/package/platform-package.test.ts',
]

/** What no TLS library makes any difference to: tests that load no addon, or one that they have built. */
const LEFT_OUT_WITH_AWS_LC = ['test/**/*.unit.test.ts', 'test/package/**']

if (awsLc && !process.env.AWS_LC_ROOT_DIR) skip('AWS_LC_ROOT_DIR names neither an installed AWS-LC nor its sources')
console.log(`Building ${sanitize ? 'the addon and the unit tests with sanitizers' : 'the unit tests'} …`)
const folder = buildForTests({
  sanitize,
  awsLc,
  target: 'native_tests',
  help: "The unit tests need libuv's library as well: Debian, Ubuntu: apt-get install libuv1-dev; Fedora: dnf install libuv-devel; Alpine: apk add libuv-dev; macOS: brew install libuv.",
})

const unitsPass = runUnitTests('native_tests', `native${kind}`)
const threadsPass = sanitize || awsLc || runThreadTests()
const addonPasses = !(sanitize || awsLc) || runAddonTests()
process.exit(unitsPass && threadsPass && addonPasses ? 0 : 1)

/**
 * Leaves a report of one skipped test, which .ci/run counts, and ends the process.
 * @param {string} reason
 * @returns {never}
 */
function skip(reason) {
  console.log(`Skipped: ${reason}.`)
  mkdirSync(reports, { recursive: true })
  writeFileSync(join(reports, `native${kind}.tap`), `TAP version 13\n1..1\nok 1 - the tests with AWS-LC # SKIP ${reason}\n`)
  process.exit(0)
}

/**
 * Runs a program of `folder`, and writes what it says into the reports. Gives whether all of its tests pass.
 * @param {string} name
 * @param {string} report
 * @param {readonly string[]} [prefix] a command that runs the program
 */
function runUnitTests(name, report, prefix = []) {
  const [program = '', ...rest] = [...prefix, join(folder, name)]
  const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' }
  const { status, signal, stdout } = spawnSync(program, rest, {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.stdout.write(stdout)
  writeFileSync(join(reports, `${report}.tap`), stdout)
  if (status !== 0) console.error(`${name} ended with ${signal ?? `exit code ${status}`}`)
  return status === 0
}

/** The hub between threads, under ThreadSanitizer, where the compiler has it. */
function runThreadTests() {
  console.log('Building the tests of the hub between threads with ThreadSanitizer …')
  const built = buildTarget(folder, 'thread_hub_tests')
  if (!built.ok && /tsan/.test(built.output)) {
    console.log('Left out: this compiler has no ThreadSanitizer.')
    return true
  }
  if (!built.ok) {
    console.error(built.output)
    return false
  }
  // Compilers of 2023 and before know only kernels that place memory within 28 random bits: here it is not
  // placed at random.
  const fixed = [which('setarch') ?? 'setarch', '-R']
  return runUnitTests('thread_hub_tests', 'native-threads', run([...fixed, 'true']).ok ? fixed : [])
}

function runAddonTests() {
  // Node itself frees little when it exits: leaks are looked for in the unit tests above, and by the fuzz.
  const env = {
    ...(sanitize ? sanitizerEnvironment(folder, 'detect_leaks=0') : addonEnvironment(folder)),
    // The portable engine has nothing that the sanitizers see.
    NATIVE_WEBSOCKET_SERVER_TEST_ENGINE: 'native',
  }
  const report = `--outputFile.json=${join(reports, `vitest${kind}.json`)}`
  const leftOut = [...(sanitize ? LEFT_OUT : []), ...(awsLc ? LEFT_OUT_WITH_AWS_LC : [])]
  const excluded = leftOut.flatMap((file) => ['--exclude', file])
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
