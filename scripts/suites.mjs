/**
 * Runs the test suites of other packages against the faces of this one: `npm run suites -- NAME DIRECTORY`,
 * with a checkout of that package whose own dependencies are installed (docs/compatibility.md says how).
 * Prints what failed; skips, with the reason, where the directory is not there.
 *
 * `--engine native|portable` chooses the engine, `--times N` repeats the suite.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { root } from './install/paths.mjs'

const here = join(root, 'scripts', 'suites')
const hook = join(here, 'faces.cjs')
const ENGINE_IO = ['engine.io', 'middlewares', 'parser', 'server'].map((file) => `test/${file}.js`)
/** Milliseconds for one process. */
const PATIENCE = 300_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { engine: { type: 'string', default: 'native' }, times: { type: 'string', default: '1' } },
})
const [name = '', given = ''] = positionals
const directory = resolve(given)

/** @typedef {Map<string, string | null>} Results by title; null of a test that passed */
/** @type {Record<string, () => Results>} */
const SUITES = {
  ws: () => new Map(['websocket-server', 'websocket'].flatMap((file) => [...eachAlone(`test/${file}.test.js`)])),
  // Its other file is about WebTransport, and needs an addon for QUIC.
  'engine.io': () => mocha(ENGINE_IO, { EIO_WS_ENGINE: 'uws' }),
  'socket.io': () => mocha(['--import=tsx', '--timeout', '10000', 'test/uws.ts']),
  'hyper-express': hyperExpress,
  crossws,
}

const suite = SUITES[name]
if (suite === undefined) {
  process.stderr.write(`usage: npm run suites -- ${Object.keys(SUITES).join('|')} DIRECTORY\n`)
  process.exit(2)
} else if (given === '' || !existsSync(join(directory, 'package.json'))) {
  process.stdout.write(`skipped: there is no checkout of ${name} in ${given || 'a directory that is given'}\n`)
} else {
  const version = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')).version
  for (let run = 0; run < Number(values.times); run += 1) tell(`${name} ${version}, ${values.engine} engine`, suite())
}

/**
 * @param {string} title
 * @param {Results} results
 */
function tell(title, results) {
  const failed = [...results].filter(([, error]) => error !== null)
  for (const [test, error] of failed) process.stdout.write(`not ok - ${test}\n    ${error}\n`)
  process.stdout.write(`${title}: ${results.size - failed.length} of ${results.size} passed\n`)
  if (failed.length > 0 || results.size === 0) process.exitCode = 1
}

/**
 * @param {readonly string[]} command
 * @param {Record<string, string>} [environment]
 */
function run(command, environment = {}) {
  const env = {
    ...process.env,
    ...environment,
    NATIVE_WEBSOCKET_SERVER_ENGINE: values.engine,
    NODE_OPTIONS: `--require=${hook}`,
  }
  const { stdout, stderr } = spawnSync(process.execPath, command, {
    cwd: directory,
    env,
    encoding: 'utf8',
    timeout: PATIENCE,
    killSignal: 'SIGKILL',
    maxBuffer: 2 ** 28,
  })
  return { stdout, stderr }
}

/**
 * @param {readonly string[]} more
 * @param {Record<string, string>} [environment]
 * @returns {Results}
 */
function mocha(more, environment) {
  const folder = mkdtempSync(join(tmpdir(), 'suites-'))
  const file = join(folder, 'results.json')
  const program = [join('node_modules', 'mocha', 'bin'), join('..', '..', 'node_modules', 'mocha', 'bin')]
    .flatMap((bin) => [join(directory, bin, 'mocha.js'), join(directory, bin, 'mocha')])
    .find(existsSync)
  if (program === undefined) throw new Error(`mocha is not installed in ${directory}`)
  const { stdout, stderr } = run([program, '--exit', '--reporter', join(here, 'reporter.cjs'), ...more], {
    ...environment,
    SUITE_RESULTS: file,
  })
  if (!existsSync(file)) process.stderr.write(`${stdout}${stderr}`)
  const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  rmSync(folder, { recursive: true })
  return new Map(results)
}

/**
 * What fails is repeated in a process of its own: an error that is thrown late fails the test that happens to
 * run then, and leaves the server of the first one open.
 * @param {string} file
 * @returns {Results}
 */
function eachAlone(file) {
  const environment = { SUITE_WS_DIRECTORY: directory }
  const results = mocha([file], environment)
  for (const [title, error] of results) {
    if (error === null) continue
    // Hooks fail where a test before them has left something behind.
    if (/"(?:before|after) (?:each|all)" hook/.test(title)) results.delete(title)
    else results.set(title, mocha(['--grep', `^${escaped(title)}$`, file], environment).get(title) ?? null)
  }
  return results
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

/** @returns {Results} */
function hyperExpress() {
  const { stdout, stderr } = run([join(here, 'hyper-express.cjs')])
  const lines = stdout.split('\n').filter((line) => line.startsWith('{"name"'))
  if (lines.length === 0) process.stderr.write(`${stdout}${stderr}`)
  return new Map(
    lines.map((line) => {
      const { name, failure } = JSON.parse(line)
      return [name, failure]
    }),
  )
}

/**
 * Its tests of the adapter for uWebSockets.js with the face in that place, and those for all adapters on the
 * adapter of this package.
 * @returns {Results}
 */
function crossws() {
  // Vitest looks for tests and for their imports in the checkout alone.
  const own = join(directory, 'test', 'adapters', 'native-websocket-server.test.ts')
  const config = join(directory, 'native-websocket-server.config.mjs')
  const report = join(directory, 'native-websocket-server.json')
  const alias = {
    'uWebSockets.js': join(root, 'dist', 'faces', 'uws.js'),
    // Else it is to be built before.
    'crossws/websocket': join(directory, 'src', 'websocket', 'node.ts'),
  }
  copyFileSync(join(here, 'crossws-adapter.ts.txt'), own)
  writeFileSync(config, `export default ${JSON.stringify({ test: { alias } })}`)
  try {
    const files = ['test/adapters/uws.test.ts', 'test/adapters/native-websocket-server.test.ts']
    const vitest = join(directory, 'node_modules', 'vitest', 'vitest.mjs')
    const reporting = ['--reporter=json', `--outputFile=${report}`]
    const { stdout, stderr } = run([vitest, 'run', '--config', config, ...reporting, ...files], {
      FACES: join(root, 'dist'),
    })
    if (!existsSync(report)) process.stderr.write(`${stdout}${stderr}`)
    /**
     * @type {{ testResults: { name: string, assertionResults: {
     *   fullName: string, status: string, failureMessages: string[] }[] }[] }}
     */
    const { testResults } = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : { testResults: [] }
    return new Map(
      testResults.flatMap(({ name, assertionResults }) =>
        assertionResults.map(({ fullName, status, failureMessages }) => [
          `${basename(name)}: ${fullName}`,
          status === 'failed' ? (String(failureMessages[0]).split('\n', 1)[0] ?? '') : null,
        ]),
      ),
    )
  } finally {
    for (const file of [own, config, report]) rmSync(file, { force: true })
  }
}
