/** The README and the reference pages: what they say is run, compiled, or compared with the code. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ERROR_CODES } from '../../src/index.js'
import { OTHER_PROGRAM, Running } from '../support/child.js'
import { Client } from '../support/client.js'
import { bannerOf, portIn, runCommand, startCommand } from '../support/command.js'
import { AVAILABLE_ENGINES, addressOf, describeEngines } from '../support/engines.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = (name: string): string => readFileSync(join(root, name), 'utf8')
const README = page('README.md')
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'examples/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  ...readdirSync(join(root, 'docs/how-to')).map((name) => `docs/how-to/${name}`),
]

/** The blocks of one language, in order. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, name]) => name === language).map(([, , code = '']) => code)
}

/** The commands that the README shows, without their comments. */
const commands = blocks(README, 'sh')
  .flatMap((block) => block.split('\n').map((line) => line.replace(/\s+#.*$/, '')))
  .flatMap((line) => line.split(' && '))
const EXAMPLE = blocks(README, 'ts')[0] ?? ''

describe('the README', () => {
  test('has at most 120 lines, and the two commands on its first screen', () => {
    const lines = README.trimEnd().split('\n')
    expect(lines.length).toBeLessThanOrEqual(120)
    const screen = lines.slice(0, 24).join('\n')
    for (const command of ['npm install && npm start', 'npm test']) expect(screen).toContain(`\n${command} `)
  })

  test('shows an example of ten lines', () => {
    expect(EXAMPLE.split('\n').filter((line) => line.trim() !== '')).toHaveLength(10)
  })

  test('shows code that compiles, and so do the pages of docs/how-to', () => {
    const prelude =
      "import { ListenError, WebSocketServer } from 'native-websocket-server'\nconst server = new WebSocketServer()\n"
    const oneLiners = [...README.matchAll(/`((?:server|new WebSocketServer)[.(][^`]*\))`/g)].map(([, code = '']) => code)
    expect(oneLiners).toHaveLength(4)
    const howTo = PAGES.filter((name) => name.startsWith('docs/how-to/')).flatMap((name) => blocks(page(name), 'ts'))
    expect(howTo).toHaveLength(4)
    const programs = howTo.filter((code) => code.startsWith('import'))
    const fragments = [...howTo.filter((code) => !code.startsWith('import')), ...oneLiners]
    const sources = [...programs, ...fragments.map((code) => `${prelude}server.unref()\n{\n${code}\n}\n`)]
    compile(Object.fromEntries(sources.map((code, index) => [`fragment-${index}.ts`, code])))
  })

  test('names scripts of package.json only', () => {
    const scripts = Object.keys(JSON.parse(page('package.json')).scripts)
    const named = [...README.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name)
    expect(named.length).toBeGreaterThan(0)
    for (const name of named) expect(scripts).toContain(name)
    expect(commands).toEqual(expect.arrayContaining(['npm install', 'npm start', 'npm test']))
  })

  test('names options of the command that it has, and all of them', async () => {
    const { stdout } = await runCommand(['--help']).result()
    const listed = [...stdout.matchAll(/^ {2}(--[\w-]+)/gm)].map(([, flag]) => flag)
    const [, sentence = ''] = /There are (`--[^.]*), and the environment variables/.exec(README) ?? []
    const named = [...sentence.matchAll(/`(--[\w-]+)`/g)].map(([, flag]) => flag)
    expect(named.toSorted()).toEqual(listed.toSorted())
  })

  test('names the tools that the install step asks for', async () => {
    const modulePath = '../../scripts/install/remedies.mjs'
    const { remedies }: { remedies: Record<string, readonly (readonly [string, string])[]> } = await import(modulePath)
    const pages = README + page('docs/troubleshooting.md')
    const named = (start: string) => (new RegExp(`${start} ([^\`#\n]+)`).exec(pages)?.[1] ?? '').trim().split(' ')
    const asked = (start: string) =>
      Object.values(remedies).flatMap((ways) =>
        ways.filter(([, way]) => way.startsWith(start)).flatMap(([, way]) => way.split(' ').slice(2)),
      )
    for (const start of ['apt-get install', 'dnf install', 'apk add']) {
      expect(asked(start)).not.toEqual([])
      expect(named(start)).toEqual(expect.arrayContaining(asked(start)))
    }
  })
})

/**
 * Type checks and compiles; gives the folder with the JavaScript. It is within the package, so that the
 * package's own name resolves as in any project that depends on it.
 */
function compile(sources: Record<string, string>): string {
  mkdirSync(join(root, 'build'), { recursive: true })
  const folder = mkdtempSync(join(root, 'build', 'readme-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, source] of Object.entries(sources)) writeFileSync(join(folder, name), source)
  const settings = {
    extends: '../../tsconfig.json',
    compilerOptions: { noEmit: false, rootDir: '.', outDir: 'out' },
    include: ['*.ts'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings))
  const tsc = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' })
  expect({ status: tsc.status, stdout: tsc.stdout }).toEqual({ status: 0, stdout: '' })
  return join(folder, 'out')
}

/** What a heading is called in a link: as GitHub does it, where all headings of these pages are different. */
function anchors(name: string): string[] {
  const headings = [
    ...page(name)
      .replace(/^```[\s\S]*?^```$/gm, '')
      .matchAll(/^#+ (.*)$/gm),
  ]
  return headings.map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe('the pages', () => {
  test.each(PAGES)('%s links to files and folders that exist', (name) => {
    for (const [, target = ''] of page(name).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      expect({ target, exists: existsSync(join(root, dirname(name), target)) }).toEqual({ target, exists: true })
    }
  })

  test.each(PAGES)('%s links to headings that exist', (name) => {
    for (const [, target = '', anchor] of page(name).matchAll(/\]\(((?!https?:)[^)#\s]*)#([^)\s]+)\)/g)) {
      const file = target === '' ? name : posix.join(dirname(name), target)
      expect(anchors(file), `${file}#${anchor}`).toContain(anchor)
    }
  })

  test('docs/api.md ends in every error code with its meaning, and no other', () => {
    const rows = [...page('docs/api.md').matchAll(/^\| `(E[A-Z_]+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$/gm)]
    expect(Object.fromEntries(rows.map(([, code, meaning]) => [code, meaning]))).toEqual(ERROR_CODES)
    expect(rows).toHaveLength(Object.keys(ERROR_CODES).length)
  })
})

describeEngines('what the README shows', (engine) => {
  test('the ten-line example compiles and is a chat', async () => {
    const folder = compile({ 'example.ts': EXAMPLE })
    const env = { PORT: '0', NATIVE_WEBSOCKET_SERVER_ENGINE: engine }
    const example = new Running([process.execPath, join(folder, 'example.js')], { env })
    const [, port] = /^Chat on ws:\/\/localhost:(\d+)\/chat$/.exec(await example.line('where it listens')) ?? []
    const address = addressOf(Number(port), 'localhost')
    const [ann, bob] = [await Client.open(address, '/chat'), await Client.open(address, '/chat')]
    for (const message of ['Bob', 'hello']) bob.send(message)
    expect(await ann.next('what Bob says')).toBe('Bob: hello')
    for (const message of ['Ann', 'hello, Bob']) ann.send(message)
    expect(await bob.next('what Ann says')).toBe('Ann: hello, Bob')
    expect([ann.messages.size, bob.messages.size]).toEqual([0, 0])
  })

  test('the banner is what the command prints', async () => {
    const banner = await bannerOf(runCommand(['--engine', engine, '--port', '0']))
    const shown = blocks(README, '').find((block) => block.startsWith('Engine: ')) ?? ''
    const [engineLine, ...others] = shown.replaceAll('7000', `${portIn(banner)}`).split('\n')
    expect(banner.slice(1)).toEqual(others.slice(0, 3))
    if (engine === 'native') expect(banner[0]).toBe(engineLine)
  })

  test('the wscat and curl commands work', async () => {
    const { port } = await startCommand(engine, { tls: true })
    const shown = (program: string) =>
      (commands.find((command) => command.includes(program)) ?? '').replace('7000', `${port}`).split(' ')

    const [npx, , ...wscatArguments] = shown('wscat')
    expect(npx).toBe('npx')
    const wscat = new Running([process.execPath, join(root, 'node_modules/wscat/bin/wscat'), ...wscatArguments], {
      env: OTHER_PROGRAM,
    })
    expect(await wscat.line('the welcome')).toBe('{"event":"connected","message":"Welcome!"}')
    wscat.process.stdin?.write('hello\n')
    expect(await wscat.line('the echo')).toBe('> hello') // after its prompt

    const curl = await new Running(shown('curl'), { env: OTHER_PROGRAM }).result()
    expect(curl).toMatchObject({ code: 0, stdout: '{"status":"healthy"}\n' })
  })
})

describe('npm start', () => {
  // What a person types, on a terminal of its own, so that Ctrl+C reaches npm and the server as it does
  // there.
  const noTerminal = /util-linux/.test(spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '')
    ? ''
    : ' (skipped: no script command that can make a terminal on this machine)'
  test.runIf(noTerminal === '')(`serves, and Ctrl+C closes every connection with 1001${noTerminal}`, async () => {
    const env = {
      PORT: '0',
      HOST: undefined,
      NATIVE_WEBSOCKET_SERVER_ENGINE: AVAILABLE_ENGINES[0],
      npm_config_update_notifier: 'false',
    }
    const command = 'npm start -- --no-tls'
    const terminal = new Running(['script', '--quiet', '--return', '--command', command, '/dev/null'], { cwd: root, env })
    let line = ''
    do line = await terminal.line('its banner')
    while (!line.startsWith('WebSocket server listening'))
    const client = await Client.open(addressOf(Number(/port (\d+)/.exec(line)?.[1]), 'localhost'))
    await client.next('the welcome')
    terminal.process.stdin?.write('\u0003')
    expect((await client.closed()).code).toBe(1001)
    await terminal.result() // its code is the shell's, which has had the Ctrl+C too
  })
})
