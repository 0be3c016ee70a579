/** The install step, run as `npm install` runs it, in small projects that have its scripts and an addon of a few lines. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'

const repository = fileURLToPath(new URL('..', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'install-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** The install step's own judgement of this machine: without the tools there is nothing to build with. */
const toolsUrl = pathToFileURL(join(repository, 'scripts', 'install', 'tools.mjs')).href
const askForTools = `import { checkTools } from ${JSON.stringify(toolsUrl)}; console.log(checkTools().missing.map(({ what }) => what).join(', '))`
const absentTools = execFileSync(process.execPath, ['--input-type=module', '-e', askForTools], { encoding: 'utf8' }).trim()
const noTools = absentTools && ` (skipped: this machine lacks ${absentTools})`
const noGit = spawnSync('git', ['--version']).status === 0 ? '' : ' (skipped: git is not installed)'

const ADDON = '#include <node_api.h>\n#include <App.h>\nNAPI_MODULE_INIT() { return exports; }\n'
const CMAKE_LISTS = `cmake_minimum_required(VERSION 3.16)
project(small LANGUAGES C CXX)
add_library(native_websocket_server MODULE native/addon.cpp)
set_target_properties(native_websocket_server PROPERTIES PREFIX "" SUFFIX ".node")
target_include_directories(native_websocket_server PRIVATE \${CMAKE_JS_INC} "$ENV{UWEBSOCKETS_DIR}/src")
if(APPLE)
  target_link_options(native_websocket_server PRIVATE -undefined dynamic_lookup)
endif()
`

let project: string

beforeEach(() => {
  project = mkdtempSync(join(scratch, 'project-'))
  cpSync(join(repository, 'scripts'), join(project, 'scripts'), { recursive: true })
  symlinkSync(join(repository, 'node_modules'), join(project, 'node_modules'))
  write('package.json', '{ "name": "small", "version": "1.0.0", "type": "module", "binary": { "napi_versions": [9] } }')
  write('CMakeLists.txt', CMAKE_LISTS)
  write('native/addon.cpp', ADDON)
  writeUpstream(join(project, 'external', 'uwebsockets'))
})
afterEach(() => rmSync(project, { recursive: true, force: true }))

function write(file: string, content: string): void {
  mkdirSync(dirname(join(project, file)), { recursive: true })
  writeFileSync(join(project, file), content)
}

/** What the install step takes for µWebSockets: in these projects nothing else of it is used. */
function writeUpstream(folder: string, header = ''): void {
  for (const [file, content] of [
    ['src/App.h', header],
    ['uSockets/Makefile', ''],
    ['uSockets/src/libusockets.h', ''],
  ] as const) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), content)
  }
}

function install(env: NodeJS.ProcessEnv = {}, ...args: string[]) {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|NODE_OPTIONS|NATIVE_WEBSOCKET_SERVER_|UWEBSOCKETS_DIR|CC$|CXX$)/i.test(name),
  )
  const result = spawnSync(process.execPath, [join(project, 'scripts', 'install.mjs'), ...args], {
    cwd: project,
    env: { ...Object.fromEntries(inherited), ...env },
    encoding: 'utf8',
  })
  return { code: result.status, output: result.stdout + result.stderr }
}

const inBuild = (file: string) => join(project, 'build', file)
const addon = () => inBuild('Release/native_websocket_server.node')
const reason = () => readFileSync(inBuild('install-reason.txt'), 'utf8')

/** A PATH with everything that is on this one, except programs with one of these names. */
function pathWithout(...names: string[]): string {
  const folder = mkdtempSync(join(scratch, 'bin-'))
  const hidden = new RegExp(`^(${names.join('|')})(-[\\d.]+)?$`)
  for (const directory of (process.env.PATH ?? '').split(delimiter).filter(existsSync)) {
    for (const program of readdirSync(directory)) {
      if (!hidden.test(program) && !existsSync(join(folder, program)))
        symlinkSync(join(directory, program), join(folder, program))
    }
  }
  return folder
}

/** A program of our own, in a folder of its own. */
function fakeProgram(name: string, script: string): string {
  const folder = mkdtempSync(join(scratch, 'fake-'))
  const file = join(folder, name)
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
  return file
}

const COMPILERS = ['cc', 'c\\+\\+', 'gcc', 'g\\+\\+', 'clang', 'clang\\+\\+']
/** PATH such that nothing can be built: the quickest way to see what happens then. */
const bare = () => ({ PATH: pathWithout('cmake', 'make', 'gmake', ...COMPILERS) })

describe.skipIf(noTools !== '')(`with the tools${noTools}`, () => {
  test('the addon is built, and nothing is left to explain', () => {
    write('build/install-reason.txt', 'An earlier install had no compiler.')
    const { code, output } = install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' })
    expect(output).toMatch(/The native engine was built in \d+ s\./)
    expect(code).toBe(0)
    expect(() => createRequire(import.meta.url)(addon())).not.toThrow()
    expect(existsSync(inBuild('install-reason.txt'))).toBe(false)
  })

  test('a second install has nothing to build, until a source changes', () => {
    install()
    const built = statSync(addon()).mtimeMs
    const logged = statSync(inBuild('install.log')).mtimeMs
    expect(install()).toEqual({ code: 0, output: 'native-websocket-server: The native engine is up to date.\n' })
    expect(statSync(inBuild('install.log')).mtimeMs).toBe(logged)

    write('native/addon.cpp', `${ADDON}// changed\n`)
    expect(install().output).toContain('The native engine was built')
    expect(statSync(addon()).mtimeMs).toBeGreaterThan(built)
  })

  test('an addon that was removed is built again', () => {
    install()
    rmSync(addon())
    expect(install().output).toContain('The native engine was built')
    expect(existsSync(addon())).toBe(true)
  })

  test('UWEBSOCKETS_DIR is used in place of the submodule, and a change of it builds anew', () => {
    install()
    const elsewhere = mkdtempSync(join(scratch, 'upstream-'))
    writeUpstream(elsewhere, '#define FROM_ELSEWHERE 1\n')
    write('native/addon.cpp', `${ADDON}static_assert(FROM_ELSEWHERE == 1);\n`)
    expect(install().code).toBe(1)
    const { code, output } = install({ UWEBSOCKETS_DIR: elsewhere })
    expect(output).toContain('The native engine was built')
    expect(code).toBe(0)
  })

  test.each(['', 'native'])('a compile error fails the install with the compiler’s output (engine "%s")', (engine) => {
    install()
    write('native/addon.cpp', `${ADDON}int length = "not a number";\n`)
    const { code, output } = install({ NATIVE_WEBSOCKET_SERVER_ENGINE: engine })
    expect(code).toBe(1)
    expect(output).toMatch(/native\/addon\.cpp:4:\d+: .*error/)
    expect(output).toContain(inBuild('install.log'))
    expect(readFileSync(inBuild('install.log'), 'utf8')).toContain('native/addon.cpp:4:')
    expect(existsSync(addon())).toBe(false)
    expect(reason()).toContain('The native build failed')

    write('native/addon.cpp', ADDON)
    expect(install().code).toBe(0)
    expect(existsSync(inBuild('install-reason.txt'))).toBe(false)
  })

  test('broken upstream sources fail the install too', () => {
    writeUpstream(join(project, 'external', 'uwebsockets'), '#error "this is not the header"\n')
    const { code, output } = install()
    expect(code).toBe(1)
    expect(output).toContain('this is not the header')
  })

  test('an addon that Node cannot load fails the install', () => {
    write('native/addon.cpp', `void nowhere();\n${ADDON.replace('{', '{ nowhere();')}`)
    const { code, output } = install()
    expect(code).toBe(1)
    expect(output).toContain('Node cannot load it')
    expect(output).toContain('nowhere')
    expect(existsSync(addon())).toBe(false)
  })
})

describe('without the tools', () => {
  test('the install succeeds, names everything that is missing in one go, and says what brings it', () => {
    mkdirSync(dirname(addon()), { recursive: true })
    writeFileSync(addon(), 'from an earlier install')
    const { code, output } = install(bare())
    expect(code).toBe(0)
    for (const what of ['cmake 3.16 or later', 'make', 'a C compiler', 'a C++20 compiler']) {
      const [, paragraph = ''] =
        output
          .split('\n\n')
          .find((text) => text.startsWith(`Missing: ${what}.`))
          ?.split(/(?<=\.) /, 2) ?? []
      expect(paragraph, what).toContain('PATH')
    }
    const paragraphs = output.split('\n\n').filter((text) => text.startsWith('Missing: '))
    for (const text of paragraphs)
      for (const system of ['Debian, Ubuntu:', 'Fedora:', 'Alpine:', 'macOS:']) expect(text).toContain(system)
    expect(output).toContain('apt-get install cmake')
    expect(output).toContain('The portable engine serves.')
    expect(existsSync(addon())).toBe(false)

    const [first, ...details] = reason().split('\n')
    expect(first).toMatch(/^The native engine was not built, because cmake 3\.16 or later, make, .* are missing\.$/)
    expect(details.join('\n')).toContain(paragraphs[0])
  })

  test('NATIVE_WEBSOCKET_SERVER_ENGINE=native makes it a failed install', () => {
    const { code, output } = install({ ...bare(), NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' })
    expect(code).toBe(1)
    expect(output).toContain('Missing: a C++20 compiler.')
    expect(output).not.toContain('The portable engine serves.')
    expect(reason()).toContain('C++20 compiler')
  })

  test('so does --native, which builds the native engine alone', () => {
    const { code, output } = install({ ...bare(), NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' }, '--native')
    expect(code).toBe(1)
    expect(output).toContain('Without --native the portable engine would serve.')
  })

  test('a cmake that is too old is missing, with what it said', () => {
    const cmake = fakeProgram('cmake', 'echo "cmake version 3.9.6"')
    const { code, output } = install({ PATH: `${dirname(cmake)}${delimiter}${pathWithout('cmake')}` })
    expect(code).toBe(0)
    expect(output).toContain('Missing: cmake 3.16 or later.')
    expect(output).toContain('said: cmake version 3.9.6.')
  })

  test('a compiler that is too old is missing, with what it said', () => {
    const old = fakeProgram('old-c++', 'echo "old-c++: error: unrecognized option -std=c++20" >&2; exit 1')
    const { code, output } = install({ CXX: old })
    expect(code).toBe(0)
    expect(output).toContain('Missing: a C++20 compiler.')
    expect(output).toContain('unrecognized option -std=c++20')
  })

  test('a compiler that CXX names and that is not there is missing', () => {
    const { code, output } = install({ CXX: '/nowhere/c++ -m64' })
    expect(code).toBe(0)
    expect(output).toContain('Missing: a C++20 compiler. CXX=/nowhere/c++ was looked for.')
  })

  test('headers that the compiler cannot include are missing, with what it said', () => {
    const blind = fakeProgram('cc', 'echo "fatal error: no such file" >&2; case "$(cat)" in *include*) exit 1;; esac')
    const { code, output } = install({ CC: blind })
    expect(code).toBe(0)
    expect(output).not.toContain('Missing: a C compiler')
    for (const [header, library] of [
      ["OpenSSL's header openssl/ssl.h", 'apt-get install libssl-dev'],
      ["zlib's header zlib.h", 'apt-get install zlib1g-dev'],
    ] as const) {
      const paragraph = output.split('\n\n').find((text) => text.startsWith(`Missing: ${header}.`))
      expect(paragraph).toContain('fatal error: no such file')
      expect(paragraph).toContain(library)
    }
  })
})

describe('without the upstream sources', () => {
  beforeEach(() => rmSync(join(project, 'external'), { recursive: true }))

  test('a folder that is no git clone says so, and the portable engine serves', () => {
    const { code, output } = install()
    expect(code).toBe(0)
    expect(output).toContain('neither a git clone')
    expect(reason()).toMatch(/^The native engine was not built, because .*µWebSockets.* missing\.\n/)
    expect(install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }).code).toBe(1)
  })

  test('UWEBSOCKETS_DIR without them is named, with the file that is not there', () => {
    const elsewhere = mkdtempSync(join(scratch, 'upstream-'))
    const { code, output } = install({ UWEBSOCKETS_DIR: elsewhere })
    expect(code).toBe(0)
    expect(output).toContain(`Missing: src/App.h (in ${elsewhere}).`)
  })
})

describe.skipIf(noGit !== '')(`in a git clone${noGit}`, () => {
  /** Commits anew: nobody's configuration, and submodules from local folders. */
  const gitSettings: NodeJS.ProcessEnv = {
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_COUNT: '3',
    GIT_CONFIG_KEY_0: 'protocol.file.allow',
    GIT_CONFIG_VALUE_0: 'always',
    GIT_CONFIG_KEY_1: 'user.name',
    GIT_CONFIG_VALUE_1: 'test',
    GIT_CONFIG_KEY_2: 'user.email',
    GIT_CONFIG_VALUE_2: 'test@localhost',
  }
  const git = (folder: string, ...args: string[]) =>
    execFileSync('git', args, { cwd: folder, env: { ...process.env, ...gitSettings }, encoding: 'utf8', stdio: 'pipe' })
  let upstream: string

  /** µSockets inside µWebSockets inside the project, all of them repositories, as in the real one. */
  beforeEach(() => {
    rmSync(join(project, 'external'), { recursive: true })
    upstream = mkdtempSync(join(scratch, 'upstream-'))
    writeUpstream(upstream)
    const inner = mkdtempSync(join(scratch, 'inner-'))
    cpSync(join(upstream, 'uSockets'), inner, { recursive: true })
    rmSync(join(upstream, 'uSockets'), { recursive: true })
    const unneeded = mkdtempSync(join(scratch, 'unneeded-'))
    writeFileSync(join(unneeded, 'huge'), '')
    for (const folder of [inner, unneeded, upstream]) {
      git(folder, 'init', '--quiet')
      git(folder, 'add', '.')
      git(folder, 'commit', '--quiet', '--message', 'first')
    }
    git(upstream, 'submodule', '--quiet', 'add', inner, 'uSockets')
    git(upstream, 'submodule', '--quiet', 'add', unneeded, 'unneeded')
    git(upstream, 'commit', '--quiet', '--message', 'second')
    git(project, 'init', '--quiet')
    git(project, 'submodule', '--quiet', 'add', upstream, 'external/uwebsockets')
    git(project, 'commit', '--quiet', '--message', 'first')
    git(project, 'submodule', '--quiet', 'deinit', '--force', '--all')
    rmSync(join(project, '.git', 'modules'), { recursive: true })
  })

  test('the two submodules that are needed are fetched, and no other', () => {
    install({ ...gitSettings, ...bare() })
    const files = readdirSync(join(project, 'external', 'uwebsockets', 'uSockets'))
    expect(files).toContain('Makefile')
    expect(readdirSync(join(project, 'external', 'uwebsockets', 'unneeded'))).toEqual([])
    expect(reason()).not.toContain('µ')
  })

  test('a submodule that is there is left at the commit where it is, with a word when that is not the pinned one', () => {
    install({ ...gitSettings, ...bare() })
    const submodule = join(project, 'external', 'uwebsockets')
    git(submodule, 'commit', '--quiet', '--allow-empty', '--message', 'mine')
    const mine = git(submodule, 'rev-parse', 'HEAD')
    const { output } = install({ ...gitSettings, ...bare() })
    expect(output).toContain('external/uwebsockets is not at the commit that is pinned')
    expect(git(submodule, 'rev-parse', 'HEAD')).toBe(mine)
  })

  test('an unreachable upstream leaves the portable engine, with what git said', () => {
    rmSync(upstream, { recursive: true })
    const { code, output } = install(gitSettings)
    expect(code).toBe(0)
    expect(output).toContain(
      'Missing: µWebSockets (the submodule external/uwebsockets). "git submodule update --init external/uwebsockets" said:',
    )
    expect(output).toMatch(/\| .*does not exist/)
    expect(reason().split('\n')[0]).toBe(
      'The native engine was not built, because µWebSockets (the submodule external/uwebsockets) is missing.',
    )
    expect(install({ ...gitSettings, NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }).code).toBe(1)
  })

  test('git itself can be what is missing', () => {
    const { code, output } = install({ PATH: pathWithout('git') })
    expect(code).toBe(0)
    expect(output).toContain('Missing: git.')
    expect(output).toContain('apk add git')
  })
})

describe('NATIVE_WEBSOCKET_SERVER_ENGINE', () => {
  test('=portable skips the native build, and the reason says so', () => {
    const { code, output } = install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' })
    expect(code).toBe(0)
    expect(output).toContain('The native build was skipped')
    expect(reason()).toBe('The native build was skipped, because NATIVE_WEBSOCKET_SERVER_ENGINE=portable was set.\n')
    expect(existsSync(inBuild('install.log'))).toBe(false)
  })

  test('with any other value fails the install, with the value', () => {
    const { code, output } = install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'Native' })
    expect(code).toBe(1)
    expect(output).toContain('NATIVE_WEBSOCKET_SERVER_ENGINE must be "native" or "portable", or unset, got "Native"')
    expect(existsSync(join(project, 'build'))).toBe(false)
  })

  test('Windows has the portable engine, and a reason', () => {
    const pretend = "data:text/javascript,Object.defineProperty(process,'platform',{value:'win32'})"
    const { code, output } = install({ NODE_OPTIONS: `--import=${pretend}` })
    expect(code).toBe(0)
    expect(output).toContain('On Windows there is no native engine yet.')
    expect(reason()).toBe('On Windows there is no native engine yet.\n')
  })
})

describe('the TypeScript', () => {
  const portable = { NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' }
  beforeEach(() => {
    write(
      'tsconfig.build.json',
      '{ "compilerOptions": { "module": "NodeNext", "rootDir": "src", "outDir": "dist", "types": [] }, "include": ["src"] }',
    )
    write('src/index.ts', 'export const answer: number = 42\n')
  })

  test('is compiled where there is any', () => {
    expect(install(portable).code).toBe(0)
    expect(readFileSync(join(project, 'dist', 'index.js'), 'utf8')).toContain('export const answer = 42')
  })

  test('with an error in it fails the install with the compiler’s output', () => {
    write('src/index.ts', "export const answer: number = 'forty-two'\n")
    const { code, output } = install(portable)
    expect(code).toBe(1)
    expect(output).toMatch(/src\/index\.ts\(1,14\): error TS2322/)
  })

  test('is left alone by --native', () => {
    install(bare(), '--native')
    expect(existsSync(join(project, 'dist'))).toBe(false)
  })

  test('cannot be compiled without the development dependencies, which only matters when it never was', () => {
    rmSync(join(project, 'node_modules'))
    const { code, output } = install(portable)
    expect(code).toBe(1)
    expect(output).toContain('TypeScript is not installed')
    write('dist/index.js', '')
    expect(install(portable).code).toBe(0)
  })
})
