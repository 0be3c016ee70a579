/** The install step, run as `npm install` runs it. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  ADDON,
  absentTools,
  CMAKE_LISTS,
  fakeProgram,
  newFolder,
  paragraphAbout,
  pathWithout,
  removeAll,
  SmallProject,
  withoutTools,
  writeUpstream,
} from '../support/small-project.js'

// A test builds up to four times, on a machine that may be doing other things.
vi.setConfig({ testTimeout: 120_000 })

const absent = absentTools()
const noTools = absent && ` (skipped: this machine lacks ${absent})`
const noGit = spawnSync('git', ['--version']).status === 0 ? '' : ' (skipped: git is not installed)'

let project: SmallProject
beforeEach(() => {
  project = new SmallProject()
})
afterAll(removeAll)

describe.skipIf(noTools !== '')(`with the tools${noTools}`, () => {
  test('the addon is built, and nothing is left to explain', () => {
    project.write('build/install-reason.txt', 'An earlier install had no compiler.')
    const { code, output } = project.install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' })
    expect(output).toMatch(/The native engine was built in \d+ s\./)
    expect(code).toBe(0)
    expect(() => createRequire(import.meta.url)(project.addon)).not.toThrow()
    expect(existsSync(project.reasonFile)).toBe(false)
  })

  test('the install says which TLS library is in the addon, and how old it is', () => {
    const openssl = `napi_value openssl, value;
  napi_create_object(env, &openssl);
  napi_set_named_property(env, exports, "openssl", openssl);
  for (auto [name, text] : {std::pair{"version", "AWS-LC 5.5.0"}, std::pair{"builtOn", "Fri Apr  3 12:29:32 2026 UTC"}}) {
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    napi_set_named_property(env, openssl, name, value);
  }`
    project.write('native/addon.cpp', `#include <utility>\n${ADDON.replace('{', `{ ${openssl}`)}`)
    const { output } = project.install()
    expect(output).toMatch(/was built in \d+ s, with AWS-LC 5\.5\.0, compiled on Fri Apr {2}3 12:29:32 2026 UTC\./)
  })

  test('a second install has nothing to build, until a source changes', () => {
    project.install()
    const built = statSync(project.addon).mtimeMs
    const logged = statSync(project.log).mtimeMs
    expect(project.install()).toEqual({ code: 0, output: 'native-websocket-server: The native engine is up to date.\n' })
    expect(statSync(project.log).mtimeMs).toBe(logged)

    project.write('native/addon.cpp', `${ADDON}// changed\n`)
    expect(project.install().output).toContain('The native engine was built')
    expect(statSync(project.addon).mtimeMs).toBeGreaterThan(built)
  })

  test('a library of the system that was updated goes into a new build, from scratch', () => {
    const library = join(newFolder(), 'libssl.a')
    writeFileSync(library, 'with a hole')
    utimesSync(library, 1e9, 1e9)
    project.write('CMakeLists.txt', `${CMAKE_LISTS}set(OPENSSL_SSL_LIBRARY "${library}" CACHE FILEPATH "")\n`)
    project.install()
    expect(project.install().output).toContain('up to date')

    const leftover = join(project.folder, 'build', 'leftover')
    writeFileSync(leftover, '')
    writeFileSync(library, 'mended   ..')
    utimesSync(library, 1.1e9, 1.1e9) // packages keep the time when they were made: long before the addon
    expect(project.install().output).toContain('The native engine was built')
    expect(existsSync(leftover)).toBe(false)
    expect(project.install().output).toContain('up to date')

    rmSync(library)
    expect(project.install().output).toContain('The native engine was built')
  })

  test('an addon that was removed is built again', () => {
    project.install()
    rmSync(project.addon)
    expect(project.install().output).toContain('The native engine was built')
    expect(existsSync(project.addon)).toBe(true)
  })

  test('UWEBSOCKETS_DIR is used in place of the submodule, and a change of it builds anew', () => {
    project.install()
    const elsewhere = newFolder()
    writeUpstream(elsewhere, '#define FROM_ELSEWHERE 1\n')
    project.write('native/addon.cpp', `${ADDON}static_assert(FROM_ELSEWHERE == 1);\n`)
    expect(project.install().code).toBe(1)
    const { code, output } = project.install({ UWEBSOCKETS_DIR: elsewhere })
    expect(output).toContain('The native engine was built')
    expect(code).toBe(0)
  })

  test.each(['', 'native'])('a compile error fails the install with the compiler’s output (engine "%s")', (engine) => {
    project.install()
    project.write('native/addon.cpp', `${ADDON}int length = "not a number";\n`)
    const { code, output } = project.install({ NATIVE_WEBSOCKET_SERVER_ENGINE: engine })
    expect(code).toBe(1)
    expect(output).toMatch(/native\/addon\.cpp:4:\d+: .*error/)
    expect(output).toContain(project.log)
    expect(readFileSync(project.log, 'utf8')).toContain('native/addon.cpp:4:')
    expect(existsSync(project.addon)).toBe(false)
    expect(project.reason()).toContain('The native build failed')

    project.write('native/addon.cpp', ADDON)
    expect(project.install().code).toBe(0)
    expect(existsSync(project.reasonFile)).toBe(false)
  })

  test('broken upstream sources fail the install too', () => {
    writeUpstream(project.upstream, '#error "this is not the header"\n')
    const { code, output } = project.install()
    expect(code).toBe(1)
    expect(output).toContain('this is not the header')
  })

  test('an addon that Node cannot load fails the install', () => {
    project.write('native/addon.cpp', `void nowhere();\n${ADDON.replace('{', '{ nowhere();')}`)
    const { code, output } = project.install()
    expect(code).toBe(1)
    expect(output).toContain('Node cannot load it')
    expect(output).toContain('nowhere')
    expect(existsSync(project.addon)).toBe(false)
  })
})

describe('without the tools', () => {
  test('the install succeeds, names everything that is missing in one go, and says what brings it', () => {
    mkdirSync(dirname(project.addon), { recursive: true })
    writeFileSync(project.addon, 'from an earlier install')
    const { code, output } = project.install(withoutTools())
    expect(code).toBe(0)
    for (const what of ['cmake 3.16 or later', 'make', 'a C compiler', 'a C++20 compiler'])
      expect(paragraphAbout(what, output)).toContain('PATH')
    const paragraphs = output.split('\n\n').filter((text) => text.startsWith('Missing: '))
    for (const text of paragraphs)
      for (const system of ['Debian, Ubuntu:', 'Fedora:', 'Alpine:', 'macOS:']) expect(text).toContain(system)
    expect(output).toContain('apt-get install cmake')
    expect(output).toContain('The portable engine serves.')
    expect(existsSync(project.addon)).toBe(false)

    const [first, ...details] = project.reason().split('\n')
    expect(first).toMatch(/^The native engine was not built, because cmake 3\.16 or later, make, .* are missing\.$/)
    expect(details.join('\n')).toContain(paragraphs[0])
  })

  test.each([
    ['npm/11.21.2 node/v20.20.2 linux x64 workspaces/false', 'npm rebuild native-websocket-server'],
    ['pnpm/10.34.9 npm/? node/v20.20.2 linux x64', 'pnpm rebuild native-websocket-server'],
    ['yarn/1.22.22 npm/? node/v20.20.2 linux x64', 'yarn install --force'],
    ['yarn/4.18.1 npm/? node/v20.20.2 linux x64', 'yarn rebuild native-websocket-server'],
  ])('what tries again is in the words of the package manager that installs: %s', (agent, command) => {
    const { output } = project.install({ ...withoutTools(), npm_config_user_agent: agent })
    expect(output).toContain(`"${command}" tries the native build again.`)
  })

  test('NATIVE_WEBSOCKET_SERVER_ENGINE=native makes it a failed install', () => {
    const { code, output } = project.install({ ...withoutTools(), NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' })
    expect(code).toBe(1)
    expect(output).toContain('Missing: a C++20 compiler.')
    expect(output).not.toContain('The portable engine serves.')
    expect(project.reason()).toContain('C++20 compiler')
  })

  test('so does --native, which builds the native engine alone', () => {
    const { code, output } = project.install({ ...withoutTools(), NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' }, '--native')
    expect(code).toBe(1)
    expect(output).toContain('Without --native the portable engine would serve.')
  })

  test('a cmake that is too old is missing, with what it said', () => {
    const cmake = fakeProgram('cmake', 'echo "cmake version 3.9.6"')
    const { code, output } = project.install({ PATH: `${dirname(cmake)}${delimiter}${pathWithout('cmake')}` })
    expect(code).toBe(0)
    expect(output).toContain('Missing: cmake 3.16 or later.')
    expect(output).toContain('said: cmake version 3.9.6.')
  })

  test('a compiler that is too old is missing, with what it said', () => {
    const old = fakeProgram('old-c++', 'echo "old-c++: error: unrecognized option -std=c++20" >&2; exit 1')
    const { code, output } = project.install({ CXX: old })
    expect(code).toBe(0)
    expect(output).toContain('Missing: a C++20 compiler.')
    expect(output).toContain('unrecognized option -std=c++20')
  })

  test('a compiler that CXX names and that is not there is missing', () => {
    const { code, output } = project.install({ CXX: '/nowhere/c++ -m64' })
    expect(code).toBe(0)
    expect(output).toContain('Missing: a C++20 compiler. CXX=/nowhere/c++ was looked for.')
  })

  test('headers that the compiler cannot include are missing, with what it said', () => {
    const blind = fakeProgram('cc', 'echo "fatal error: no such file" >&2; case "$(cat)" in *include*) exit 1;; esac')
    const { code, output } = project.install({ CC: blind })
    expect(code).toBe(0)
    expect(output).not.toContain('Missing: a C compiler')
    for (const [header, library] of [
      ["OpenSSL's header openssl/ssl.h", 'apt-get install libssl-dev'],
      ["zlib's header zlib.h", 'apt-get install zlib1g-dev'],
    ] as const) {
      const paragraph = paragraphAbout(header, output)
      expect(paragraph).toContain('fatal error: no such file')
      expect(paragraph).toContain(library)
    }
  })
})

describe('without static libraries of OpenSSL', () => {
  test('the paragraph names them, and says how to bring them even where no package does', () => {
    const blind = fakeProgram('cc', 'case "$1" in -print-file-name=*) echo "$1" | cut -d= -f2;; esac; cat >/dev/null')
    const { code, output } = project.install({ CC: blind })
    expect(code).toBe(0)
    expect(output).toContain('The portable engine serves.')
    const paragraph = paragraphAbout("OpenSSL's static libraries", output)
    expect(paragraph).toContain(`There is no libssl.a and no libcrypto.a where ${blind} looks for libraries.`)
    expect(paragraph).toContain('apk add openssl-libs-static')
    expect(paragraph).toContain('OPENSSL_ROOT_DIR=/path/to/openssl ')
    expect(project.install({ CC: blind, NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }).code).toBe(1)
  })

  test('OPENSSL_ROOT_DIR names a folder with them; one of the two is not enough', () => {
    const openssl = newFolder()
    for (const file of ['include/openssl/ssl.h', 'lib/libssl.a']) {
      mkdirSync(dirname(join(openssl, file)), { recursive: true })
      writeFileSync(join(openssl, file), '')
    }
    const settings = { ...withoutTools(), OPENSSL_ROOT_DIR: openssl }
    expect(project.install(settings).output).toContain(`There is no libcrypto.a in ${join(openssl, 'lib')} nor `)
    writeFileSync(join(openssl, 'lib', 'libcrypto.a'), '')
    expect(project.install(settings).output).not.toContain('Missing: OpenSSL')
  })
})

describe('without the static library of zlib', () => {
  test('the paragraph names it, and says how to bring it', () => {
    const cc = fakeProgram('cc', 'case "$1" in -print-file-name=libz.a) echo libz.a; exit 0;; esac; exec gcc "$@"')
    const { code, output } = project.install({ CC: cc })
    expect(code).toBe(0)
    expect(output).toContain('The portable engine serves.')
    expect(output).not.toContain('Missing: OpenSSL')
    const paragraph = paragraphAbout("zlib's static library", output)
    expect(paragraph).toContain(`There is no libz.a where ${cc} looks for libraries.`)
    expect(paragraph).toContain('apk add zlib-static')
    expect(project.install({ CC: cc, NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }).code).toBe(1)
  })
})

describe('without the upstream sources', () => {
  beforeEach(() => rmSync(join(project.folder, 'external'), { recursive: true }))

  test('a folder that is no git clone says so, and the portable engine serves', () => {
    const { code, output } = project.install()
    expect(code).toBe(0)
    expect(output).toContain('neither a git clone')
    expect(project.reason()).toMatch(/^The native engine was not built, because .*µWebSockets.* missing\.\n/)
    expect(project.install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }).code).toBe(1)
  })

  test('UWEBSOCKETS_DIR without them is named, with the file that is not there', () => {
    const elsewhere = newFolder()
    const { code, output } = project.install({ UWEBSOCKETS_DIR: elsewhere })
    expect(code).toBe(0)
    expect(output).toContain(`Missing: src/App.h (in ${elsewhere}).`)
  })
})

describe.skipIf(noGit !== '')(`in a git clone${noGit}`, () => {
  /** Commits anew: with the configuration of no user, and submodules from local folders. */
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
    rmSync(join(project.folder, 'external'), { recursive: true })
    upstream = newFolder()
    writeUpstream(upstream)
    const inner = newFolder()
    cpSync(join(upstream, 'uSockets'), inner, { recursive: true })
    rmSync(join(upstream, 'uSockets'), { recursive: true })
    const unneeded = newFolder()
    writeFileSync(join(unneeded, 'huge'), '')
    for (const folder of [inner, unneeded, upstream]) {
      git(folder, 'init', '--quiet')
      git(folder, 'add', '.')
      git(folder, 'commit', '--quiet', '--message', 'first')
    }
    git(upstream, 'submodule', '--quiet', 'add', inner, 'uSockets')
    git(upstream, 'submodule', '--quiet', 'add', unneeded, 'unneeded')
    git(upstream, 'commit', '--quiet', '--message', 'second')
    git(project.folder, 'init', '--quiet')
    git(project.folder, 'submodule', '--quiet', 'add', upstream, 'external/uwebsockets')
    git(project.folder, 'commit', '--quiet', '--message', 'first')
    git(project.folder, 'submodule', '--quiet', 'deinit', '--force', '--all')
    rmSync(join(project.folder, '.git', 'modules'), { recursive: true })
  })

  test('the two submodules that are needed are fetched, and no other', () => {
    project.install({ ...gitSettings, ...withoutTools() })
    const files = readdirSync(join(project.folder, 'external', 'uwebsockets', 'uSockets'))
    expect(files).toContain('Makefile')
    expect(readdirSync(join(project.folder, 'external', 'uwebsockets', 'unneeded'))).toEqual([])
    expect(project.reason()).not.toContain('µ')
  })

  test('a submodule that is there is left at the commit where it is, with a word when that is not the pinned one', () => {
    project.install({ ...gitSettings, ...withoutTools() })
    const submodule = project.upstream
    git(submodule, 'commit', '--quiet', '--allow-empty', '--message', 'mine')
    const mine = git(submodule, 'rev-parse', 'HEAD')
    const { output } = project.install({ ...gitSettings, ...withoutTools() })
    expect(output).toContain('external/uwebsockets is not at the commit that is pinned')
    expect(git(submodule, 'rev-parse', 'HEAD')).toBe(mine)
  })

  test('an unreachable upstream leaves the portable engine, with what git said', () => {
    rmSync(upstream, { recursive: true })
    const { code, output } = project.install(gitSettings)
    expect(code).toBe(0)
    expect(output).toContain(
      'Missing: µWebSockets (the submodule external/uwebsockets). "git submodule update --init external/uwebsockets" said:',
    )
    expect(output).toMatch(/\| .*does not exist/)
    expect(project.reason().split('\n')[0]).toBe(
      'The native engine was not built, because µWebSockets (the submodule external/uwebsockets) is missing.',
    )
    expect(project.install({ ...gitSettings, NATIVE_WEBSOCKET_SERVER_ENGINE: 'native' }).code).toBe(1)
  })

  test('git itself can be what is missing', () => {
    const { code, output } = project.install({ PATH: pathWithout('git') })
    expect(code).toBe(0)
    expect(output).toContain('Missing: git.')
    expect(output).toContain('apk add git')
  })
})

describe('NATIVE_WEBSOCKET_SERVER_ENGINE', () => {
  test('=portable skips the native build, and the reason says so', () => {
    const { code, output } = project.install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' })
    expect(code).toBe(0)
    expect(output).toContain('The native build was skipped')
    expect(project.reason()).toBe('The native build was skipped, because NATIVE_WEBSOCKET_SERVER_ENGINE=portable was set.\n')
    expect(existsSync(project.log)).toBe(false)
  })

  test('with any other value fails the install, with the value', () => {
    const { code, output } = project.install({ NATIVE_WEBSOCKET_SERVER_ENGINE: 'Native' })
    expect(code).toBe(1)
    expect(output).toContain('NATIVE_WEBSOCKET_SERVER_ENGINE must be "native" or "portable", or unset, got "Native"')
    expect(existsSync(join(project.folder, 'build'))).toBe(false)
  })

  test('Windows has the portable engine, and a reason', () => {
    const pretend = "data:text/javascript,Object.defineProperty(process,'platform',{value:'win32'})"
    const { code, output } = project.install({ NODE_OPTIONS: `--import=${pretend}` })
    expect(code).toBe(0)
    expect(output).toContain('On Windows there is no native engine yet.')
    expect(project.reason()).toBe('On Windows there is no native engine yet.\n')
  })
})

test('NATIVE_WEBSOCKET_SERVER_BUILD with another value than "source" fails the install, with the value', () => {
  const { code, output } = project.install({ NATIVE_WEBSOCKET_SERVER_BUILD: 'sauce' })
  expect(code).toBe(1)
  expect(output).toContain('NATIVE_WEBSOCKET_SERVER_BUILD must be "source", or unset, got "sauce"')
})

describe('the TypeScript', () => {
  const portable = { NATIVE_WEBSOCKET_SERVER_ENGINE: 'portable' }
  beforeEach(() => {
    project.write(
      'tsconfig.build.json',
      '{ "compilerOptions": { "module": "NodeNext", "rootDir": "src", "outDir": "dist", "types": [] }, "include": ["src"] }',
    )
    project.write('src/index.ts', 'export const answer: number = 42\n')
  })

  test('is compiled where there is any', () => {
    expect(project.install(portable).code).toBe(0)
    expect(readFileSync(join(project.folder, 'dist', 'index.js'), 'utf8')).toContain('export const answer = 42')
  })

  test('with an error in it fails the install with the compiler’s output', () => {
    project.write('src/index.ts', "export const answer: number = 'forty-two'\n")
    const { code, output } = project.install(portable)
    expect(code).toBe(1)
    expect(output).toMatch(/src\/index\.ts\(1,14\): error TS2322/)
  })

  test('is left alone by --native', () => {
    project.install(withoutTools(), '--native')
    expect(existsSync(join(project.folder, 'dist'))).toBe(false)
  })

  test('cannot be compiled without the development dependencies, which only matters when it never was', () => {
    rmSync(join(project.folder, 'node_modules'))
    const { code, output } = project.install(portable)
    expect(code).toBe(1)
    expect(output).toContain('TypeScript is not installed')
    project.write('dist/index.js', '')
    expect(project.install(portable).code).toBe(0)
  })
})
