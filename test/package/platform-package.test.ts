/**
 * What a maintainer publishes, installed as a user would: the main package and the platform package of this
 * system, in an empty project, with a PATH on which there is nothing that builds.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { platformPackageOf, thisSystem } from '../../src/engine/native/platform-package.js'
import { tlsLibraryOf } from '../support/engines.js'
import { absentTools, newFolder, removeAll } from '../support/small-project.js'

// The addon is built once, and npm fetches what the package depends on.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 600_000 })

const root = fileURLToPath(new URL('../..', import.meta.url))
const NAME = 'native-websocket-server'
const VERSION: string = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
const system = thisSystem()
const platform = system && platformPackageOf(system)
const lacksOpenssl = tlsLibraryOf('native') === 'AWS-LC'
const absent =
  platform === undefined
    ? 'a system that platform packages are made for'
    : lacksOpenssl
      ? 'OpenSSL for the addon, which packages are made with'
      : absentTools()
const skipped = absent && ` (skipped: this machine lacks ${absent})`

const tarball = (name: string) => join(root, 'build', 'packages', `${name}-${VERSION}.tgz`)
const seconds = (since: number) => (performance.now() - since) / 1000

/** Node, npm and a shell, and no other program: no compiler, no make, no cmake, no git. */
const bare = newFolder()
for (const program of ['node', 'npm', 'sh']) {
  const found = (process.env.PATH ?? '').split(':').find((folder) => existsSync(join(folder, program)))
  if (found !== undefined) symlinkSync(program === 'node' ? process.execPath : join(found, program), join(bare, program))
}

/** Nothing that would decide about the engine, the build or npm. */
const inherited = Object.entries(process.env).filter(
  ([name]) =>
    !/^(npm_(?!config_(registry|cache)).*|NODE_OPTIONS|NODE_ENV|VITEST.*|NATIVE_WEBSOCKET_SERVER_.*|UWEBSOCKETS_DIR)$/i.test(
      name,
    ),
)
const env = { ...Object.fromEntries(inherited), PATH: bare }

/** By tarballs and flags: a project, as npm has left it. */
const untouched = new Map<string, string>()

/** A project of its own with these tarballs installed: by npm the first time, then a copy of that. */
function project(names: readonly string[], ...flags: string[]): string {
  const key = [...names, ...flags].join(' ')
  const original = untouched.get(key) ?? install(names, ...flags).folder
  untouched.set(key, original)
  const folder = newFolder()
  cpSync(original, folder, { recursive: true, verbatimSymlinks: true })
  return folder
}

/** An empty project with these tarballs installed. */
function install(names: readonly string[], ...flags: string[]): { folder: string; output: string; took: number } {
  const folder = newFolder()
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  const start = performance.now()
  const args = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--foreground-scripts', ...flags]
  const { status, stdout, stderr } = spawnSync('npm', [...args, ...names.map(tarball)], { cwd: folder, env, encoding: 'utf8' })
  const output = stdout + stderr
  expect({ status, output }).toMatchObject({ status: 0 })
  return { folder, output, took: seconds(start) }
}

/** An echo on whatever engine there is, and what the server says of that engine. */
const ECHO = `import { WebSocketServer } from '${NAME}'
import { WebSocket } from 'ws'
const server = new WebSocketServer().ws('/*', { message: (socket, message) => socket.send(message) })
const { port } = await server.listen({ host: '127.0.0.1' })
const client = new WebSocket('ws://127.0.0.1:' + port)
client.on('open', () => client.send('over the platform package'))
client.on('message', async (data) => {
  console.log(server.engine, String(data), server.engineReason ?? '')
  client.close()
  await server.close()
})
`

/** Runs a program in a project. */
function run(folder: string, source: string, more: NodeJS.ProcessEnv = {}) {
  writeFileSync(join(folder, 'program.mjs'), source)
  const start = performance.now()
  const { stdout, stderr } = spawnSync('node', ['program.mjs'], { cwd: folder, env: { ...env, ...more }, encoding: 'utf8' })
  return { stdout, stderr, took: seconds(start) }
}

describe.skipIf(absent !== '')(`the packages that are published${skipped}`, () => {
  beforeAll(() => {
    // Compiling dist/ anew would pull it from under other test files; it has just been compiled.
    const command = [join(root, 'scripts', 'build-packages.mjs'), '--keep-dist']
    console.log(execFileSync(process.execPath, command, { encoding: 'utf8' }).trim())
  })
  afterAll(removeAll)

  test('run native, without install scripts and without anything that builds', () => {
    const { folder, took } = install([NAME, String(platform)], '--ignore-scripts')
    untouched.set([NAME, String(platform), '--ignore-scripts'].join(' '), folder)
    const { stdout, stderr, took: ran } = run(folder, ECHO)
    expect({ stdout, stderr }).toEqual({ stdout: 'native over the platform package \n', stderr: '' })
    const sizes = [NAME, String(platform)].map((name) => `${name} ${(statSync(tarball(name)).size / 1e6).toFixed(2)} MB`)
    console.log(`${sizes.join(', ')}; installed in ${took.toFixed(1)} s, first echo ${ran.toFixed(2)} s after its start`)
  })

  test('have an install step that builds nothing, in under a second', () => {
    const { folder, output } = install([NAME, String(platform)])
    expect(output).toContain(`The native engine comes with ${platform}; nothing was built.`)
    expect(run(folder, ECHO).stdout).toMatch(/^native /)
    // Of processor time, since this machine may be doing other things.
    const measured = `process.on('exit', () => console.log(process.cpuUsage().user + process.cpuUsage().system))`
    const step = ['--import', `data:text/javascript,${encodeURIComponent(measured)}`, 'scripts/install.mjs']
    const printed = execFileSync('node', step, { cwd: join(folder, 'node_modules', NAME), env, encoding: 'utf8' })
    const took = Number(printed.trim().split('\n').at(-1)) / 1e6
    console.log(`install step: ${took.toFixed(2)} s`)
    expect(took).toBeGreaterThan(0)
    expect(took).toBeLessThan(1)
  })

  test('build from source where that is asked for, or name what is missing for it', () => {
    const folder = project([NAME, String(platform)], '--ignore-scripts')
    const step = { cwd: join(folder, 'node_modules', NAME), env: { ...env, NATIVE_WEBSOCKET_SERVER_BUILD: 'source' } }
    const output = execFileSync('node', ['scripts/install.mjs'], { ...step, encoding: 'utf8' })
    expect(output).toContain('Missing: a C++20 compiler.')
    // What the step leaves behind does not keep the platform package from being loaded.
    expect(run(folder, ECHO)).toMatchObject({ stdout: 'native over the platform package \n', stderr: '' })
  })

  test('say what is compiled in, and under which licence', () => {
    const listing = execFileSync('tar', ['-tzf', tarball(String(platform))], { encoding: 'utf8' })
    const files = listing.trim().split('\n').sort()
    expect(files).toEqual(
      ['LICENSE', 'README.md', 'THIRD-PARTY-LICENCES.txt', 'native_websocket_server.node', 'package.json'].map(
        (file) => `package/${file}`,
      ),
    )
    const licences = execFileSync('tar', ['-xzOf', tarball(String(platform)), 'package/THIRD-PARTY-LICENCES.txt'], {
      encoding: 'utf8',
    })
    for (const work of ['µWebSockets', 'µSockets', 'OpenSSL 3', 'zlib', 'node-addon-api', 'libuv', 'any_invocable'])
      expect(licences).toContain(work)
    if (system?.os === 'linux') expect(licences).toContain('GCC Runtime Library Exception')
  })

  test('name each other: the main package wants the platform package of its own version', () => {
    const manifest = execFileSync('tar', ['-xzOf', tarball(NAME), 'package/package.json'], { encoding: 'utf8' })
    expect(JSON.parse(manifest)).toMatchObject({
      optionalDependencies: { [String(platform)]: VERSION },
      scripts: { install: expect.any(String) },
    })
    expect(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))).not.toHaveProperty('optionalDependencies')
  })

  test('without the platform package serve on portable, with one warning that names it and what brings it', () => {
    const { folder } = install([NAME], '--ignore-scripts', '--omit=optional')
    const { stdout, stderr } = run(folder, `${ECHO}new WebSocketServer()\n`)
    expect(stdout).toMatch(/^portable over the platform package /)
    expect(stderr.match(/EngineWarning/g)).toHaveLength(1)
    expect(stderr).toContain('[NATIVE_WEBSOCKET_SERVER_FALLBACK]')
    expect(stderr).toContain(`${platform}, is not installed: the package manager has left it out`)
    expect(stderr).toContain('"npm install --include=optional"')
    for (const asked of [{ NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' }, { NODE_NO_WARNINGS: '1' }])
      expect(run(folder, ECHO, asked)).toMatchObject({ stdout: expect.stringMatching(/^portable /), stderr: '' })
  })

  test('refuse a platform package of another version', () => {
    const folder = project([NAME, String(platform)], '--ignore-scripts')
    const manifest = join(folder, 'node_modules', String(platform), 'package.json')
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"version": "${VERSION}"`, '"version": "99.0.0"'))
    expect(run(folder, ECHO).stdout).toContain(`${platform} is of version 99.0.0, and must be of ${VERSION}`)
  })

  test('prefer an addon that was built in place, and one that the variable names to both', () => {
    const folder = project([NAME, String(platform)], '--ignore-scripts')
    const own = join(folder, 'node_modules', NAME, 'build', 'Release', 'native_websocket_server.node')
    const theirs = join(folder, 'node_modules', String(platform), 'native_websocket_server.node')
    const loaded = `import { WebSocketServer } from '${NAME}'
import { createRequire } from 'node:module'
new WebSocketServer({ engine: 'native' })
console.log(Object.keys(createRequire(import.meta.url).cache).filter((file) => file.endsWith('.node')).join())`
    expect(run(folder, loaded).stdout.trim()).toBe(theirs)
    mkdirSync(dirname(own), { recursive: true })
    copyFileSync(theirs, own)
    expect(run(folder, loaded).stdout.trim()).toBe(own)
    const elsewhere = join(folder, 'elsewhere.node')
    copyFileSync(theirs, elsewhere)
    expect(run(folder, loaded, { NATIVE_WEBSOCKET_SERVER_ADDON: elsewhere }).stdout.trim()).toBe(elsewhere)
    // An addon that cannot be loaded does not hide the one that can.
    rmSync(own)
    writeFileSync(own, 'no addon')
    expect(run(folder, loaded).stdout.trim()).toBe(theirs)
  })
})
