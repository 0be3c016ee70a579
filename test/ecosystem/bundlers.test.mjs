/**
 * Programs that bundle this package with themselves, and test runners with a module system of their own: the
 * addon is found, or the reason for the portable engine says what to do.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import process from 'node:process'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import commonjs from '@rollup/plugin-commonjs'
import nodeResolve from '@rollup/plugin-node-resolve'
import { build } from 'esbuild'
import { rollup } from 'rollup'
import { build as buildWithVite } from 'vite'
import webpack from 'webpack'

const NAME = 'native-websocket-server'
const root = fileURLToPath(new URL('../..', import.meta.url))
const addon = join(root, 'build', 'Release', 'native_websocket_server.node')
const native = existsSync(addon) ? 'native' : 'portable'

/** A project that has installed the package, and another folder, where it is not. */
const project = mkdtempSync(join(tmpdir(), 'nws-bundlers-'))
const elsewhere = mkdtempSync(join(tmpdir(), 'nws-elsewhere-'))
after(() => {
  for (const folder of [project, elsewhere]) rmSync(folder, { recursive: true, force: true })
})
mkdirSync(join(project, 'node_modules'))
symlinkSync(root, join(project, 'node_modules', NAME), 'dir')
const entry = join(project, 'app.mjs')
writeFileSync(
  entry,
  `import { consolePage, WebSocketServer } from '${NAME}'
const server = new WebSocketServer().get('/', () => new Response('here')).get('/console', consolePage())
server.listen({ host: '127.0.0.1' }).then(async ({ port }) => {
  const [text, page] = await Promise.all(['', '/console'].map((path) =>
    fetch('http://127.0.0.1:' + port + path).then((response) => response.text())))
  console.log(server.engine, text, page.includes('<title>WebSocket console</title>'), 'require' in globalThis)
  await server.close()
})
`,
)

/** What a program prints, without what this process's environment would decide for it. */
function run(file, cwd, more = {}) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('NATIVE_WEBSOCKET_SERVER_')))
  const { stdout, stderr } = spawnSync(process.execPath, [file], { cwd, env: { ...env, ...more }, encoding: 'utf8' })
  return { stdout, stderr }
}

const esbuilds = (format, more) => (outfile) =>
  build({
    entryPoints: [entry],
    bundle: true,
    platform: 'node',
    format,
    outfile,
    logLevel: 'silent',
    ...more,
  })

const rollups = (format) => async (file) => {
  const plugins = [nodeResolve({ preferBuiltins: true, exportConditions: ['node'] }), commonjs()]
  const bundle = await rollup({ input: entry, plugins, onwarn: () => {} })
  await bundle.write({ file, format })
}

const webpacks = (extra) => async (file) => {
  const output = { path: dirname(file), filename: file.slice(dirname(file).length + 1), ...extra.output }
  const stats = await promisify(webpack)({ mode: 'production', target: 'node', context: project, entry, ...extra, output })
  assert.deepEqual(stats.toJson({ all: false, errors: true }).errors, [])
}

/** For server-side rendering. Vite leaves installed packages out by itself, but not one that is linked. */
const vites = (ssr) => (file) =>
  buildWithVite({
    configFile: false,
    root: project,
    logLevel: 'error',
    ssr,
    build: {
      ssr: entry,
      outDir: dirname(file),
      emptyOutDir: false,
      rollupOptions: { output: { entryFileNames: file.slice(dirname(file).length + 1) } },
    },
  })

/** `knows`: webpack writes each module's folder into the bundle, which finds the package from anywhere. */
for (const { name, file, bundle, knows = false } of [
  { name: 'esbuild, ES modules', file: 'esbuild.mjs', bundle: esbuilds('esm') },
  { name: 'esbuild, ES modules, minified', file: 'esbuild-minified.mjs', bundle: esbuilds('esm', { minify: true }) },
  { name: 'esbuild, CommonJS', file: 'esbuild.cjs', bundle: esbuilds('cjs') },
  { name: 'Rollup, ES modules', file: 'rollup.mjs', bundle: rollups('es') },
  { name: 'Rollup, CommonJS', file: 'rollup.cjs', bundle: rollups('cjs') },
  { name: 'Vite, server-side rendering', file: 'vite.mjs', bundle: vites({ noExternal: true }) },
  { name: 'webpack, CommonJS', file: 'webpack.cjs', bundle: webpacks({}), knows: true },
  {
    name: 'webpack, ES modules',
    file: 'webpack.mjs',
    bundle: webpacks({ experiments: { outputModule: true }, output: { module: true, library: { type: 'module' } } }),
    knows: true,
  },
]) {
  describe(name, () => {
    const made = join(project, 'out', file)

    test('the bundle finds the addon of the package that is installed beside it', async () => {
      await bundle(made)
      assert.equal(run(made, project).stdout, `${native} here true false\n`)
    })

    test('the bundle in another place says what to mark as external, and which variable names the addon', {
      skip: knows && 'it knows where the package was',
    }, () => {
      const moved = join(elsewhere, file)
      copyFileSync(made, moved)
      const { stdout, stderr } = run(moved, elsewhere)
      assert.equal(stdout, 'portable here true false\n')
      assert.match(stderr, /EngineWarning: .*this program is a bundle.* mark it as external .*NATIVE_WEBSOCKET_SERVER_ADDON/)
    })

    test('the variable gives the bundle in another place its addon', {
      skip: native === 'portable' && 'the addon is not built',
    }, () => {
      const moved = join(elsewhere, file)
      copyFileSync(made, moved)
      assert.deepEqual(run(moved, elsewhere, { NATIVE_WEBSOCKET_SERVER_ADDON: addon }), {
        stdout: 'native here true false\n',
        stderr: '',
      })
    })
  })
}

test('esbuild with the package as external leaves it where it is', async () => {
  const outfile = join(project, 'out', 'external.cjs')
  await build({ entryPoints: [entry], bundle: true, platform: 'node', format: 'cjs', outfile, external: [NAME] })
  assert.equal(run(outfile, project).stdout, `${native} here true false\n`)
})

test('Vite with the package as external leaves it where it is', async () => {
  const file = join(project, 'out', 'vite-external.mjs')
  await vites({ external: [NAME] })(file)
  assert.match(readFileSync(file, 'utf8'), new RegExp(`from ["']${NAME}["']`))
  assert.equal(run(file, project).stdout, `${native} here true false\n`)
})

test('Jest requires the package, in the environment that it makes for tests', () => {
  const folder = join(project, 'jest')
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "jest": { "transform": {}, "testEnvironment": "node" } }\n')
  writeFileSync(
    join(folder, 'server.test.js'),
    `const { OptionError, WebSocketServer } = require('${NAME}')
test('a server answers', async () => {
  expect(() => new WebSocketServer({ tls: 5 })).toThrow(OptionError)
  const server = new WebSocketServer().get('/', () => new Response('here'))
  const { port } = await server.listen({ host: '127.0.0.1' })
  expect(await (await fetch('http://127.0.0.1:' + port)).text()).toBe('here')
  expect(server.engine).toBe('${native}')
  await server.close()
})
`,
  )
  const jest = resolve(dirname(createRequire(import.meta.url).resolve('jest/package.json')), 'bin', 'jest.js')
  const { status, stderr } = spawnSync(process.execPath, [jest, '--ci'], { cwd: folder, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.match(stderr, /1 passed/)
})
