/**
 * The package as npm packs it, in a project that depends on it: what it carries, who can import it, and how
 * its types resolve.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const NAME = 'native-websocket-server'

/** A project that has installed the package with an npm that ran no install scripts. */
const project = mkdtempSync(join(tmpdir(), 'nws-test-package-'))
const installed = join(project, 'node_modules', NAME)
const manifest = () => JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
const files = (): string[] =>
  readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.join(entry.parentPath.slice(installed.length + 1), entry.name))

/** Everything that would decide about the engine, or about how Node and npm behave, is left behind. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_.*|NODE_OPTIONS|NODE_ENV|NATIVE_WEBSOCKET_SERVER_.*)$/i.test(name)),
)

let archive = ''

beforeAll(() => {
  // `prepack` would remove the dist/ that other test files are using. It has just been compiled.
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', project]
  archive = execFileSync('npm', pack, { cwd: root, env, encoding: 'utf8' }).trim()
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['-xzf', join(project, archive), '-C', installed, '--strip-components=1'])
  for (const name of ['ws', '@types/node', 'undici-types']) {
    mkdirSync(dirname(join(project, 'node_modules', name)), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name))
  }
})
afterAll(() => rmSync(project, { recursive: true, force: true }))

/** Runs a program of the project's. */
function runProgram(
  name: string,
  source: string,
  flags: readonly string[] = [],
): { code: number | null; stdout: string; stderr: string } {
  writeFileSync(join(project, name), source)
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, name], { cwd: project, env, encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

/** What programs import. */
const ENTRIES = ['', '/crossws', '/http', '/nats', '/redis', '/threads', '/uws', '/ws'].map((entry) => `${NAME}${entry}`)

describe('the package', () => {
  test('carries what it names, and no tests', () => {
    const { exports, bin, types } = manifest()
    const filesIn = (value: unknown): unknown[] =>
      typeof value === 'string' ? [value] : Object.values(Object(value)).flatMap(filesIn)
    const named = [...filesIn(exports), ...Object.values(bin), types]
    expect(named.length).toBeGreaterThan(20)
    for (const file of named) expect(files()).toContain(posix.normalize(String(file)))
    expect(files()).toEqual(expect.arrayContaining(['LICENSE', 'NOTICE', 'README.md', 'CMakeLists.txt', 'scripts/install.mjs']))
    expect(files().filter((file) => /\btest\b|\.test\.|^\.|tsconfig|bench/.test(file) && !file.startsWith('external/'))).toEqual(
      [],
    )
  })

  test('carries the pages and files to which its pages link', () => {
    const pages = files().filter((file) => file.endsWith('.md') && !file.startsWith('external/'))
    expect(pages).toEqual(
      expect.arrayContaining(['README.md', 'docs/tutorial.md', 'docs/how-to/README.md', 'examples/README.md']),
    )
    const lost = pages.flatMap((page) =>
      [...readFileSync(join(installed, page), 'utf8').matchAll(/\]\((?!https?:)([^)#\s]+)/g)]
        .filter(([, target = '']) => !existsSync(join(installed, dirname(page), target)))
        .map(([, target]) => `${page}: ${target}`),
    )
    expect(lost).toEqual([])
  })

  test('carries for each map the source that it points to', () => {
    const maps = files().filter((file) => file.endsWith('.map'))
    const compiled = files().filter((file) => /^dist\/.*\.(js|d\.ts)$/.test(file))
    expect(maps.sort()).toEqual(compiled.map((file) => `${file}.map`).sort())
    for (const map of maps) {
      const { sources, sourceRoot } = JSON.parse(readFileSync(join(installed, map), 'utf8'))
      const paths = sources.map((source: string) => posix.join(posix.dirname(map), sourceRoot ?? '', source))
      expect(files(), map).toEqual(expect.arrayContaining(paths))
    }
  })

  test('can only be entered where `exports` says', () => {
    const source = (specifier: string) => `import('${specifier}').then(() => console.log('in'), ({ code }) => console.log(code))`
    expect(runProgram('inside.mjs', source(`${NAME}/dist/server.js`)).stdout).toBe('ERR_PACKAGE_PATH_NOT_EXPORTED\n')
    const manifestOf = `console.log(require('${NAME}/package.json').version)`
    expect(runProgram('manifest.cjs', manifestOf)).toMatchObject({ code: 0, stdout: `${manifest().version}\n` })
  })

  test('without its install script serves on the portable engine, and says what would build the native one', () => {
    const { stdout } = runProgram(
      'reason.mjs',
      `import { WebSocketServer } from '${NAME}'
const { engine, engineReason } = new WebSocketServer()
console.log(engine, engineReason)`,
    )
    expect(stdout).toMatch(/^portable the native addon is not built \(.*\.node\); .*"npm rebuild native-websocket-server /)
  })

  test('needs no compiler of TypeScript to install', () => {
    const settings = { ...env, NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' }
    const { status, stdout } = spawnSync(process.execPath, ['scripts/install.mjs'], {
      cwd: installed,
      env: settings,
      encoding: 'utf8',
    })
    expect(status).toBe(0)
    expect(stdout).toContain('"npm rebuild native-websocket-server" tries the native build again.')
    expect(existsSync(join(installed, 'build', 'install-reason.txt'))).toBe(true)
  })
})

describe('JavaScript', () => {
  const USE = `const server = new WebSocketServer({ engine: 'portable' }).get('/', () => new Response('here'))
server.listen({ host: '127.0.0.1' }).then(async ({ port }) => {
  console.log(await (await fetch('http://127.0.0.1:' + port)).text())
  await server.close()
})`
  /** As Node.js was before 20.19 and 22.12, and as it is, if it can `require` ES modules. */
  const ways: [name: string, flags: string[]][] = [['without requiring ES modules', ['--no-experimental-require-module']]]
  if (process.features.require_module) ways.push(['with requiring ES modules', []])

  describe.each(ways)('%s', (_name, flags) => {
    test('imports it', () => {
      const { code, stdout, stderr } = runProgram('user.mjs', `import { WebSocketServer } from '${NAME}'\n${USE}`, flags)
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'here\n', stderr: '' })
    })

    test('requires it', () => {
      const { code, stdout, stderr } = runProgram('user.cjs', `const { WebSocketServer } = require('${NAME}')\n${USE}`, flags)
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'here\n', stderr: '' })
    })

    test.each(ENTRIES)('gets one and the same %s both ways', (entry) => {
      const source = `const required = require('${entry}')
import('${entry}').then((imported) => {
  const names = Object.keys(imported).filter((name) => name !== 'module.exports')
  console.log(names.length > 0 && names.every((name) => imported[name] === required[name]))
})`
      expect(runProgram('both.cjs', source, flags)).toMatchObject({ stdout: 'true\n', stderr: '' })
    })
  })
})

test('a copy of package.json, dist/ and ws runs, with its console page, for import, require and the command', () => {
  const copy = mkdtempSync(join(tmpdir(), 'nws-test-copy-'))
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
  const folder = join(copy, 'node_modules', NAME)
  for (const name of ['package.json', 'dist']) cpSync(join(installed, name), join(folder, name), { recursive: true })
  cpSync(join(root, 'node_modules', 'ws'), join(copy, 'node_modules', 'ws'), { recursive: true })
  expect(readdirSync(folder).sort()).toEqual(['dist', 'package.json'])
  const use = `const server = new WebSocketServer({ engine: 'portable' }).get('/console', consolePage())
server.listen({ host: '127.0.0.1' }).then(async ({ port }) => {
  const page = await (await fetch('http://127.0.0.1:' + port + '/console')).text()
  console.log(page.includes('<title>WebSocket console</title>'))
  await server.close()
})`
  const run = (name: string, source: string, ...flags: string[]) => {
    writeFileSync(join(copy, name), source)
    return spawnSync(process.execPath, [...flags, name], { cwd: copy, env, encoding: 'utf8' })
  }
  const good = { stdout: 'true\n', stderr: '' }
  expect(run('program.mjs', `import { consolePage, WebSocketServer } from '${NAME}'\n${use}`)).toMatchObject(good)
  const required = `const { consolePage, WebSocketServer } = require('${NAME}')\n${use}`
  expect(run('program.cjs', required, '--no-experimental-require-module')).toMatchObject(good)
  const doctor = spawnSync(process.execPath, [join(folder, 'dist', 'cli.js'), 'doctor'], { cwd: copy, env, encoding: 'utf8' })
  expect(doctor.stdout).toMatch(/Self-test +a server answered/)
})

describe('linters of packages', () => {
  const lint = (program: string, ...args: string[]) =>
    spawnSync(process.execPath, [join(root, 'node_modules', program), ...args], { cwd: project, env, encoding: 'utf8' })

  test('attw finds the types of each entry, for ES modules, CommonJS and bundlers', () => {
    const { status, stdout } = lint('@arethetypeswrong/cli/dist/index.js', archive, '--profile', 'node16', '--format', 'ascii')
    expect({ status, stdout }).toMatchObject({ status: 0 })
    expect(stdout.match(/node16 \(from CJS\): 🟢 \(CJS\)/g)).toHaveLength(ENTRIES.length)
  })

  test('publint has nothing to say', () => {
    const { status, stdout } = lint('publint/src/cli.js', archive, '--strict')
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining('All good!') })
  })
})

describe('TypeScript', () => {
  const USE = `const server: WebSocketServer = new WebSocketServer()
  .ws<{ name: string }>('/chat/:room', {
    open(socket: Socket<{ name: string }>) {
      socket.data = { name: 'Ada' }
    },
    message: (socket, message) => socket.send(message),
  })
  .get('/hello/:name', ({ params }) => new Response(params.name satisfies string))
export const answer: Promise<{ port: number }> = server.listen()
// @ts-expect-error: the types are there, and not merely any
server.listen({ port: 'seven' })
`
  const IMPORT = `import { type Socket, WebSocketServer } from '${NAME}'\n`
  const TYPES_ONLY = `import type { Data, ErrorCode, Socket } from '${NAME}'
export const greet = (socket: Socket, data: Data): number => socket.send(data)
// @ts-expect-error: the types are there, and not merely any
export const code: ErrorCode = 'ERR_NOBODY'
`

  /** What the compiler says of one file in a project with these settings. */
  function check(file: string, source: string, settings: Record<string, unknown>): string {
    const folder = mkdtempSync(join(project, 'typescript-'))
    writeFileSync(join(folder, file), source)
    const compilerOptions = { target: 'es2022', strict: true, noEmit: true, skipLibCheck: false, ...settings }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    return spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' }).stdout
  }

  test.each<[who: string, file: string, source: string, settings: Record<string, unknown>]>([
    ['an ES module of Node', 'user.mts', IMPORT + USE, { module: 'nodenext' }],
    ['a CommonJS module of Node', 'user.cts', IMPORT + USE, { module: 'nodenext' }],
    ['an ES module of an older Node', 'user.mts', IMPORT + USE, { module: 'node16' }],
    ['a CommonJS module of an older Node', 'user.cts', IMPORT + USE, { module: 'node16' }],
    ['a bundler', 'user.ts', IMPORT + USE, { module: 'esnext', moduleResolution: 'bundler' }],
    ['an ES module that takes types only', 'types.mts', TYPES_ONLY, { module: 'nodenext', verbatimModuleSyntax: true }],
    ['a CommonJS module that takes types only', 'types.cts', TYPES_ONLY, { module: 'nodenext' }],
    ['a project that names no types', 'user.mts', IMPORT + USE, { module: 'nodenext', types: [] }],
    [
      'a project with the types of browsers',
      'types.ts',
      TYPES_ONLY,
      { module: 'esnext', moduleResolution: 'bundler', lib: ['es2023', 'dom'] },
    ],
    [
      'a project with exact optional properties',
      'user.mts',
      IMPORT + USE,
      { module: 'nodenext', exactOptionalPropertyTypes: true },
    ],
  ])('resolves it for %s', (_who, file, source, settings) => {
    expect(check(file, source, settings)).toBe('')
  })

  test('names the missing `data`, whatever `upgrade` returns in its place', () => {
    const wrong = [
      '{}',
      "{ name: 'Ada' }",
      '{ headers: {} }',
      '{ protocol: undefined }',
      'undefined',
      "Promise.resolve({ name: 'Ada' })",
    ]
    const routes = wrong.map((result) => `server.ws<{ name: string }>('/chat', { upgrade: () => (${result}) })\n`)
    const source = `${IMPORT}const server = new WebSocketServer()\n${routes.join('')}`
    const errors = check('user.mts', source, { module: 'nodenext' }).split(/^(?=\S)/m)
    expect(errors).toHaveLength(wrong.length)
    for (const error of errors) expect(error).toMatch(/\bdata: \{ name: string; \}/)
  })

  test('finds nothing inside, where `exports` says so', () => {
    const inside = `export { ServerSocket } from '${NAME}/dist/socket.js'\n`
    expect(check('inside.mts', inside, { module: 'nodenext' })).toContain('error TS2307')
  })
})
