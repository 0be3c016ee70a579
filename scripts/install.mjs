/**
 * What `npm install` runs: brings the upstream sources, checks the tools, builds the native engine, compiles
 * the TypeScript.
 *
 * Sources or tools that cannot be had leave the portable engine (exit 0, the reason kept in
 * build/install-reason.txt); a build that was started and fails is always a failed install (exit 1).
 * NATIVE_WEBSOCKET_SERVER_ENGINE decides otherwise: `native` makes anything missing a failure, `portable`
 * skips the native build.
 *
 * Where the platform package of this system is installed, and Node loads its addon, nothing is built:
 * NATIVE_WEBSOCKET_SERVER_BUILD=source builds all the same, with this system's OpenSSL.
 *
 * `--native` builds the native engine and nothing else, and fails when that cannot be done.
 */
import process from 'node:process'
import { buildNative, isUpToDate, removeAddon } from './install/native.mjs'
import { tryAgain } from './install/paths.mjs'
import { BUILD_VARIABLE, usePlatformPackage } from './install/platform-package.mjs'
import { forgetReason, keepReason, paragraphs, say, sentence } from './install/report.mjs'
import { findSources } from './install/sources.mjs'
import { checkTools } from './install/tools.mjs'
import { compileTypeScript } from './install/typescript.mjs'

const ENGINE_VARIABLE = 'NATIVE_WEBSOCKET_SERVER_ENGINE'

const onlyNative = process.argv.includes('--native')
const wanted = onlyNative ? 'native' : (process.env[ENGINE_VARIABLE] ?? '')

if (!['', 'native', 'portable'].includes(wanted)) {
  fail(`${ENGINE_VARIABLE} must be "native" or "portable", or unset, got ${JSON.stringify(wanted)}.`)
}
const built = process.env[BUILD_VARIABLE] ?? ''
if (!['', 'source'].includes(built)) fail(`${BUILD_VARIABLE} must be "source", or unset, got ${JSON.stringify(built)}.`)
await installNative()
if (!onlyNative) {
  const { done, problem } = compileTypeScript()
  if (problem) fail(problem)
  if (done) say(done)
}

async function installNative() {
  if (wanted === 'portable') return usePortable(`The native build was skipped, because ${ENGINE_VARIABLE}=portable was set.`)
  if (process.platform === 'win32') return doWithout('On Windows there is no native engine yet.')

  const done = onlyNative ? undefined : await usePlatformPackage()
  if (done) {
    removeAddon()
    forgetReason()
    say(done)
    return
  }
  const sources = findSources()
  if (sources.note) say(sources.note)
  if (sources.directory && isUpToDate(sources.directory)) {
    forgetReason()
    say('The native engine is up to date.')
    return
  }
  const tools = checkTools()
  const missing = [...sources.missing, ...tools.missing]
  if (!sources.directory || missing.length > 0) return doWithout(sentence(missing), paragraphs(missing))

  say('Building the native engine; this can take a minute …')
  const { seconds, problem, tlsLibrary } = buildNative(sources.directory, tools)
  if (problem) {
    removeAddon()
    keepReason('The native build failed; build/install.log has the output.')
    fail(problem)
  }
  forgetReason()
  say(`The native engine was built in ${seconds} s${tlsLibrary ? `, with ${tlsLibrary}` : ''}.`)
}

/**
 * @param {string} reason
 * @param {string} [details]
 */
function doWithout(reason, details = '') {
  if (wanted !== 'native') return usePortable(reason, details)
  removeAddon()
  keepReason(reason, details)
  fail(
    [reason, details, `Without ${onlyNative ? '--native' : `${ENGINE_VARIABLE}=native`} the portable engine would serve.`]
      .filter(Boolean)
      .join('\n\n'),
  )
}

/**
 * @param {string} reason
 * @param {string} [details]
 */
function usePortable(reason, details = '') {
  // An addon left from an earlier install may be older than the TypeScript that would load it.
  removeAddon()
  keepReason(reason, details)
  say(reason)
  if (details) console.log(`\n${details}\n`)
  say(`The portable engine serves. "${tryAgain}" tries the native build again.`)
}

/**
 * @param {string} problem
 * @returns {never}
 */
function fail(problem) {
  console.error(`native-websocket-server: ${problem}`)
  process.exit(1)
}
