/**
 * What a maintainer publishes, taken from a registry by pnpm and Yarn as a user would: into an empty project,
 * with install scripts refused, and a PATH on which there is nothing that builds.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const NAME = 'native-websocket-server'
const root = fileURLToPath(new URL('../..', import.meta.url))
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
/** Another version: package managers keep what they have once had of one. */
const FOREIGN = `${version}-foreign`
const { platformPackageOf, thisSystem } = await import(join(root, 'dist/engine/native/platform-package.js'))
const system = thisSystem()
const platform = system && platformPackageOf(system)
const skip = !existsSync(join(root, 'build/Release/native_websocket_server.node')) && 'the addon is not built'

const scratch = mkdtempSync(join(tmpdir(), 'nws-managers-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const newFolder = (name) => mkdtempSync(join(scratch, `${name}-`))

/** Node and a shell, and no other program. */
const bare = newFolder('bin')
symlinkSync(process.execPath, join(bare, 'node'))
symlinkSync('/bin/sh', join(bare, 'sh'))

/** Nothing that would decide about the engine, the build or a package manager. */
const inherited = Object.entries(process.env).filter(
  ([name]) => !/^(npm_|yarn_|pnpm_|NODE_OPTIONS|NODE_ENV|NODE_TEST_|NATIVE_WEBSOCKET_SERVER_|CI$)/i.test(name),
)
const npmConfig = (name) => spawnSync('npm', ['config', 'get', name], { encoding: 'utf8', cwd: root }).stdout.trim()
const upstream = npmConfig('registry').replace(/\/$/, '')
const authorities = npmConfig('cafile')

/** A registry: of this package from tarballs; of every other package what npm's registry says. */
const own = new Map()
const registry = createServer(async (request, response) => {
  const [, , path] = /^\/([a-z]+)\/(.*)$/.exec(request.url) ?? []
  const mine = own.get(request.url)
  if (mine !== undefined) return response.end(mine)
  try {
    const { status, body } = await fetchText(`${upstream}/${path}`, request.headers.accept)
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  } catch (error) {
    response.writeHead(502).end(String(error))
  }
})

async function fetchText(url, accept) {
  const answer = await fetch(url, { headers: accept === undefined ? {} : { accept } })
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) }
}

/** Puts a tarball into the part of the registry that is called `part`. */
function publish(part, file) {
  const content = readFileSync(file)
  const manifest = JSON.parse(spawnSync('tar', ['-xzOf', file, 'package/package.json'], { encoding: 'utf8' }).stdout)
  const path = `/${part}/${manifest.name}/-/${manifest.name}-${manifest.version}.tgz`
  const dist = {
    tarball: `${origin()}${path}`,
    shasum: createHash('sha1').update(content).digest('hex'),
    integrity: `sha512-${createHash('sha512').update(content).digest('base64')}`,
  }
  const published = '2020-01-01T00:00:00.000Z'
  const packument = {
    name: manifest.name,
    'dist-tags': { latest: manifest.version },
    versions: { [manifest.version]: { ...manifest, _id: `${manifest.name}@${manifest.version}`, dist } },
    time: { created: published, modified: published, [manifest.version]: published },
  }
  own.set(`/${part}/${manifest.name}`, JSON.stringify(packument))
  own.set(path, content)
}

const origin = () => `http://127.0.0.1:${registry.address().port}`

/** The tarball once more, with another package.json. */
function repack(file, change) {
  const folder = newFolder('repack')
  assert.equal(spawnSync('tar', ['-xzf', file, '-C', folder]).status, 0)
  const path = join(folder, 'package/package.json')
  const manifest = { ...JSON.parse(readFileSync(path, 'utf8')), ...change }
  writeFileSync(path, JSON.stringify(manifest))
  const packed = join(folder, 'packed.tgz')
  assert.equal(spawnSync('tar', ['-czf', packed, '-C', folder, 'package']).status, 0)
  return packed
}

const ECHO = `import { WebSocketServer } from '${NAME}'
import { WebSocket } from 'ws'
const server = new WebSocketServer().ws('/*', { message: (socket, message) => socket.send(message) })
const { port } = await server.listen({ host: '127.0.0.1' })
const client = new WebSocket('ws://127.0.0.1:' + port)
client.on('open', () => client.send('over the platform package'))
client.on('message', async (data) => {
  console.log(server.engine, String(data))
  client.close()
  await server.close()
})
`

const within = (name, file) => fileURLToPath(new URL(`node_modules/${name}/${file}`, import.meta.url))

/**
 * How each manager installs: `flags` refuse what it would run of itself, and pnpm refuses of itself.
 * `run`: its command that starts Node.
 */
const MANAGERS = [
  {
    name: 'pnpm 10',
    script: within('pnpm', 'bin/pnpm.cjs'),
    flags: ['--store-dir', join(scratch, 'pnpm-store')],
    env: (part) => ({ npm_config_registry: part, npm_config_cache_dir: join(scratch, 'pnpm-cache') }),
    remedy: '"pnpm approve-builds" allows its install script and builds it',
  },
  {
    name: 'Yarn 1',
    script: within('yarn', 'bin/yarn.js'),
    flags: ['--ignore-scripts', '--non-interactive', '--no-progress', '--cache-folder', join(scratch, 'yarn-classic')],
    env: (part) => ({ YARN_REGISTRY: part, npm_config_registry: part }),
    remedy: '"yarn install --force" without --ignore-scripts builds it',
  },
  ...['node-modules', 'pnp'].map((linker) => ({
    name: `Yarn 4, ${linker}`,
    script: within('@yarnpkg/cli-dist', 'bin/yarn.js'),
    env: (part) => ({
      YARN_NPM_REGISTRY_SERVER: part,
      YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
      YARN_ENABLE_SCRIPTS: '0',
      YARN_ENABLE_TELEMETRY: '0',
      YARN_ENABLE_IMMUTABLE_INSTALLS: '0',
      YARN_GLOBAL_FOLDER: join(scratch, 'yarn'),
      YARN_NODE_LINKER: linker,
      ...(existsSync(authorities) && { YARN_HTTPS_CA_FILE_PATH: authorities }),
    }),
    remedy: `"yarn rebuild ${NAME}" builds it, with "dependenciesMeta"`,
    run: ['node'],
  })),
]

/** Not synchronous: the registry is in this process. */
async function node(folder, env, ...args) {
  const start = performance.now()
  const options = { cwd: folder, env: { ...Object.fromEntries(inherited), ...env, PATH: bare } }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, options)
  return { stdout, stderr, took: (performance.now() - start) / 1000 }
}

/** An empty project in which a manager has installed the package out of that part of the registry. */
async function install({ script, flags = [], env, run = [] }, part, wanted) {
  const folder = newFolder('project')
  const dependencies = { [NAME]: wanted, ws: '^8.0.0' }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  // Yarn 4 looks for its project in the folders above.
  writeFileSync(join(folder, 'yarn.lock'), '')
  writeFileSync(join(folder, 'program.mjs'), ECHO)
  const variables = env(`${origin()}/${part}`)
  const { took } = await node(folder, variables, script, 'install', ...flags)
  const command = run.length > 0 ? [script, ...run, 'program.mjs'] : ['program.mjs']
  return { folder, took, echo: () => node(folder, variables, ...command) }
}

function sizeOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

describe('the packages that are published', { skip }, () => {
  before(async () => {
    const packed = spawnSync(process.execPath, [join(root, 'scripts/build-packages.mjs'), '--keep-dist'], { encoding: 'utf8' })
    assert.equal(packed.status, 0, packed.stdout + packed.stderr)
    await new Promise((resolve) => registry.listen(0, '127.0.0.1', resolve))
    const [main, addon] = [NAME, platform].map((name) => join(root, 'build/packages', `${name}-${version}.tgz`))
    publish('fitting', main)
    publish('fitting', addon)
    // For systems of another kind alone.
    const other = `${NAME}-${system.os === 'linux' ? 'darwin-arm64' : 'linux-arm64-gnu'}`
    const changes = { version: FOREIGN, optionalDependencies: { [other]: FOREIGN } }
    publish('foreign', repack(main, changes))
    const os = system.os === 'linux' ? 'darwin' : 'linux'
    publish('foreign', repack(addon, { name: other, version: FOREIGN, os: [os], cpu: ['arm64'] }))
  })
  after(() => registry.close())

  for (const manager of MANAGERS) {
    describe(manager.name, () => {
      test('installs them without a script or a compiler, and the first echo is native', async () => {
        const { folder, took, echo } = await install(manager, 'fitting', version)
        const { stdout, stderr, took: ran } = await echo()
        assert.deepEqual({ stdout, stderr }, { stdout: 'native over the platform package\n', stderr: '' })
        const megabytes = (sizeOf(folder) / 1e6).toFixed(1)
        console.log(
          `${manager.name}: installed in ${took.toFixed(1)} s, ${megabytes} MB; first echo ${ran.toFixed(2)} s after its start`,
        )
      })

      // Plug'n'Play is a matter of where files lie, not of which are chosen.
      test('leaves out a package for another system, and one warning says what builds the addon', {
        skip: manager.name.endsWith('pnp') && 'as with node_modules',
      }, async () => {
        const { echo } = await install(manager, 'foreign', FOREIGN)
        const { stdout, stderr } = await echo()
        assert.equal(stdout, 'portable over the platform package\n')
        assert.equal(stderr.match(/EngineWarning/g)?.length, 1, stderr)
        assert.ok(stderr.includes(`${platform}, is not installed`), stderr)
        assert.ok(stderr.includes(manager.remedy), stderr)
      })
    })
  }
})
