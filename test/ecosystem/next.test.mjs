/**
 * The standalone output of Next.js, away from the project that it was made in: the addon comes along, or the
 * reason for the portable engine says which line of the configuration is missing. NEXT=1 asks for it: the
 * packages take 340 MB, and the builds longer than all other bundlers together.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../../scripts/free-port.mjs'
import { open } from './support.mjs'

const NAME = 'native-websocket-server'
const NEXT = '16.4.6'
const REACT = '19.3.1'
const root = fileURLToPath(new URL('../..', import.meta.url))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const { platformPackageOf, thisSystem } = await import(join(root, 'dist/engine/native/platform-package.js'))
const system = thisSystem()
const tarballs = Object.fromEntries(
  [NAME, system && platformPackageOf(system)].map((name) => [name, join(root, 'build/packages', `${name}-${version}.tgz`)]),
)
const skip = !process.env.NEXT
  ? 'it takes minutes: NEXT=1 asks for it'
  : !Object.values(tarballs).every(existsSync) && '"npm run build:packages" makes the packages that it installs'

const FILES = {
  'package.json': JSON.stringify({
    private: true,
    dependencies: {
      ...Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [name, `file:${file}`])),
      next: NEXT,
      react: REACT,
      'react-dom': REACT,
    },
  }),
  'app/layout.js': 'export default ({ children }) => <html lang="en"><body>{children}</body></html>\n',
  'app/page.js': 'export default () => <p>here</p>\n',
  'app/start/route.js': `import { WebSocketServer } from '${NAME}'
export const dynamic = 'force-dynamic'
export async function GET() {
  const server = new WebSocketServer().ws('/', { message: (socket, message) => socket.send(message) })
  const { port } = await server.listen({ host: '127.0.0.1' })
  return Response.json({ engine: server.engine, port })
}
`,
}

/** Nothing that would decide about the engine, or about Next.js. */
const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(NATIVE_WEBSOCKET_SERVER_|NODE_TEST_|NODE_ENV$|NEXT$|CI$)/.test(name)),
  ),
  NEXT_TELEMETRY_DISABLED: '1',
}

describe('the standalone output of Next.js', { skip, timeout: 900_000 }, () => {
  let scratch
  let project
  before(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'nws-next-'))
    project = join(scratch, 'project')
    for (const [name, text] of Object.entries(FILES)) {
      mkdirSync(dirname(join(project, name)), { recursive: true })
      writeFileSync(join(project, name), text)
    }
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund']
    await promisify(execFile)('npm', ['install', ...quiet], { cwd: project, env })
  })
  const children = []
  after(() => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(scratch, { recursive: true, force: true })
  })

  /** Builds, and runs what came out in a folder of its own. Gives the engine, and what was printed. */
  async function runStandalone(name, config, ...flags) {
    writeFileSync(join(project, 'next.config.mjs'), `export default ${JSON.stringify({ output: 'standalone', ...config })}\n`)
    const next = join(project, 'node_modules', 'next', 'dist', 'bin', 'next')
    await promisify(execFile)(process.execPath, [next, 'build', ...flags], { cwd: project, env })
    const moved = join(scratch, name)
    renameSync(join(project, '.next', 'standalone'), moved)
    const port = await freePort()
    const child = spawn(process.execPath, ['server.js'], { cwd: moved, env: { ...env, PORT: `${port}`, HOSTNAME: '127.0.0.1' } })
    children.push(child)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (data) => {
        output += data
      })
    }
    while (!/Ready in/.test(output)) await Promise.race([once(child.stdout, 'data'), ended(child, () => output)])
    const { engine, port: own } = await (await fetch(`http://127.0.0.1:${port}/start`)).json()
    const { socket, next: message } = await open(`ws://127.0.0.1:${own}/`)
    socket.send('an echo')
    assert.equal(await message(), 'an echo')
    return { engine, output }
  }

  async function ended(child, output) {
    await once(child, 'exit')
    throw new Error(`the server has ended: ${output()}`)
  }

  const EXTERNAL = { serverExternalPackages: [NAME] }
  const WHOLE = { ...EXTERNAL, outputFileTracingIncludes: { '/*': [`./node_modules/${NAME}-*/**`] } }

  for (const [bundler, flag] of [
    ['Turbopack', '--turbopack'],
    ['webpack', '--webpack'],
  ]) {
    test(`of ${bundler}, with what docs/install.md says, echoes on the native engine`, async () => {
      const { engine, output } = await runStandalone(`whole-${bundler}`, WHOLE, flag)
      assert.equal(engine, 'native', output)
      assert.doesNotMatch(output, /EngineWarning/)
    })
  }

  test('without the platform package serves on portable, and names the package that is missing', async () => {
    const { engine, output } = await runStandalone('external', EXTERNAL)
    assert.equal(engine, 'portable')
    assert.match(output, new RegExp(`EngineWarning: .*${platformPackageOf(system)}, is not installed`))
  })

  test('with the package in the bundle serves on portable, and says to mark it as external', async () => {
    const { engine, output } = await runStandalone('bundled', {})
    assert.equal(engine, 'portable')
    assert.match(output, /EngineWarning: .*this program is a bundle.* mark it as external/)
  })
})
