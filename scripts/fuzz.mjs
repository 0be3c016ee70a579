/**
 * Calls the whole public interface at random, in random states, while clients of every kind come and go
 * (test/fuzz): on the native engine built with AddressSanitizer and UndefinedBehaviorSanitizer, and beside it
 * for a quarter of the time on the portable one.
 *
 *   npm run fuzz -- [--seconds 60] [--seed 1] [--engine native|portable] [--plain] [--aws-lc]
 *
 * `--plain` takes the ordinary addon, which is quicker; `--aws-lc` takes one with the AWS-LC that
 * AWS_LC_ROOT_DIR names (scripts/test-native.mjs), with the sanitizers as well. The seed is printed; with it
 * the same calls are made, as far as the network's timing lets them. The report is build/reports/fuzz.tap.
 */
import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { root } from './install/paths.mjs'
import { buildForTests, endWithReport, fail, reports, sanitizerEnvironment } from './test-build.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    engine: { type: 'string', multiple: true, default: ['native', 'portable'] },
    plain: { type: 'boolean', default: false },
    'aws-lc': { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
if (!(seconds > 0)) fail(`--seconds must be a number, got ${values.seconds}`)

/**
 * Seconds for the fuzz to end once its time is up: the last servers close, the process ends, the sanitizer
 * looks for leaks.
 */
const PATIENCE = 90

/** @typedef {{ name: string, problem: string | undefined }} Check problem: undefined when it holds */

const folder =
  values.plain || !values.engine.includes('native') ? undefined : buildForTests({ sanitize: true, awsLc: values['aws-lc'] })
mkdirSync(reports, { recursive: true })
// At once: each is one thread for the most part.
const checks = await Promise.all(values.engine.map(run))
endWithReport('fuzz', checks.flat())

/**
 * @param {string} engine
 * @returns {Promise<Check[]>}
 */
async function run(engine) {
  const time = engine === 'native' ? seconds : seconds / 4
  console.log(`Fuzzing the ${engine} engine for ${time} s, seed ${values.seed} …`)
  const sanitized = engine === 'native' ? folder : undefined
  const log = join(reports, `fuzz-${engine}.log`)
  // Pointers that only V8's memory holds are unknown to the leak check: what it finds is judged below.
  const env = sanitized ? sanitizerEnvironment(sanitized, 'detect_leaks=1:malloc_context_size=20') : process.env
  const script = join(root, 'test', 'fuzz', 'fuzz.mjs')
  // Warnings that are documented: of backplanes of the first kind, and of errors about backplanes where a
  // server has no `onError`.
  const warnings = ['NATIVE_WEBSOCKET_SERVER_DEP0001', 'ERR_BACKPLANE', 'ERR_BACKPLANE_DOWN', 'ERR_BACKPLANE_GAP']
  const node = ['--expose-gc', ...warnings.map((code) => `--disable-warning=${code}`)]
  const child = spawn(process.execPath, [...node, script, engine, String(time), String(values.seed)], {
    cwd: root,
    env: { ...env, LSAN_OPTIONS: 'exitcode=0:max_leaks=0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stderr.pipe(createWriteStream(log))
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), (time + PATIENCE) * 1000)
  const [code, signal] = await new Promise((resolve) => child.once('close', (...end) => resolve(end)))
  clearTimeout(timer)

  const stderr = readFileSync(log, 'utf8')
  const { complaints, leaks } = splitReport(stderr)
  const result = JSON.parse(output.trim().split('\n').at(-1) || 'null')
  if (result !== null) {
    const { failures, ...counts } = result
    console.log(
      Object.entries(counts)
        .map(([name, count]) => `${name} ${count}`)
        .join(', '),
    )
  }
  const ending = signal ?? `exit code ${code}`
  return [
    {
      name: `random calls in random states throw and report nothing undocumented, and lose nothing [${engine}]`,
      problem: result === null ? `no result: ${ending}` : result.failures.join('\n') || undefined,
    },
    {
      name: `the process ends by itself, without a crash or a word on standard error [${engine}]`,
      problem: code === 0 && complaints === '' ? undefined : `${ending}\n${complaints.slice(0, 20_000)}`,
    },
    ...(sanitized
      ? [
          {
            name: `nothing that the addon has allocated is left behind [${engine}]`,
            problem: code === 0 ? ownLeaks(leaks) : `not known: ${ending}`,
          },
        ]
      : []),
  ]
}

/**
 * What standard error says, apart from LeakSanitizer's part.
 * @param {string} stderr
 */
function splitReport(stderr) {
  const start = stderr.search(/^=+\n==\d+==ERROR: LeakSanitizer/m)
  return start < 0
    ? { complaints: stderr.trim(), leaks: '' }
    : { complaints: stderr.slice(0, start).trim(), leaks: stderr.slice(start) }
}

/**
 * Node itself leaves memory behind: only what was allocated under a function of the addon counts.
 * @param {string} report
 */
function ownLeaks(report) {
  const leaks = report.split(/\n(?=(?:Direct|Indirect) leak of)/).slice(1)
  const ours = leaks.filter((leak) => leak.includes('native_websocket_server.node'))
  return ours.length === 0 ? undefined : ours.join('\n').slice(0, 20_000)
}
