/**
 * Small projects with this package's own install step, an addon of a few lines, and programs that can be
 * hidden or faked.
 */
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
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'install-'))

/** A new empty folder. */
export const newFolder = (): string => mkdtempSync(join(scratch, 'folder-'))
/** Removes every folder and project made here. */
export const removeAll = (): void => rmSync(scratch, { recursive: true, force: true })

/**
 * What this machine lacks for a native build, in the install step's own judgement. Empty when it can build.
 */
export function absentTools(): string {
  const tools = pathToFileURL(join(repository, 'scripts', 'install', 'tools.mjs')).href
  const script = `import { checkTools } from ${JSON.stringify(tools)}; console.log(checkTools().missing.map(({ what }) => what).join(', '))`
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).trim()
}

/** The source of the smallest addon. */
export const ADDON = '#include <node_api.h>\n#include <App.h>\nNAPI_MODULE_INIT() { return exports; }\n'
/** What builds it. */
export const CMAKE_LISTS = `cmake_minimum_required(VERSION 3.16)
project(small LANGUAGES C CXX)
add_library(native_websocket_server MODULE native/addon.cpp)
set_target_properties(native_websocket_server PROPERTIES PREFIX "" SUFFIX ".node")
target_include_directories(native_websocket_server PRIVATE \${CMAKE_JS_INC} "$ENV{UWEBSOCKETS_DIR}/src")
if(APPLE)
  target_link_options(native_websocket_server PRIVATE -undefined dynamic_lookup)
endif()
`

/** What the install step takes for µWebSockets: in these projects nothing else of it is used. */
export function writeUpstream(folder: string, header = ''): void {
  for (const [file, content] of [
    ['src/App.h', header],
    ['uSockets/Makefile', ''],
    ['uSockets/src/libusockets.h', ''],
  ] as const) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), content)
  }
}

export class SmallProject {
  readonly folder = newFolder()
  readonly upstream = join(this.folder, 'external', 'uwebsockets')
  readonly addon = join(this.folder, 'build', 'Release', 'native_websocket_server.node')
  readonly log = join(this.folder, 'build', 'install.log')
  readonly reasonFile = join(this.folder, 'build', 'install-reason.txt')

  constructor() {
    cpSync(join(repository, 'scripts'), join(this.folder, 'scripts'), { recursive: true })
    symlinkSync(join(repository, 'node_modules'), join(this.folder, 'node_modules'))
    this.write('package.json', '{ "name": "small", "version": "1.0.0", "type": "module", "binary": { "napi_versions": [9] } }')
    this.write('CMakeLists.txt', CMAKE_LISTS)
    this.write('native/addon.cpp', ADDON)
    writeUpstream(this.upstream)
  }

  /** Writes a file of the project, and makes its folders. */
  write(file: string, content: string): void {
    const path = join(this.folder, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }

  /**
   * Runs the install step. What npm, Node and a compiler would read from this process's environment does not
   * reach it.
   */
  install(env: NodeJS.ProcessEnv = {}, ...args: string[]): { code: number | null; output: string } {
    const foreign =
      /^(npm_.*|NODE_OPTIONS|NATIVE_WEBSOCKET_SERVER_.*|UWEBSOCKETS_DIR|OPENSSL_ROOT_DIR|CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS)$/i
    const inherited = Object.entries(process.env).filter(([name]) => !foreign.test(name))
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(this.folder, 'scripts', 'install.mjs'), ...args], {
      cwd: this.folder,
      env: { ...Object.fromEntries(inherited), ...env },
      encoding: 'utf8',
    })
    return { code: status, output: stdout + stderr }
  }

  /** What the server would say of the missing engine. */
  reason(): string {
    return readFileSync(this.reasonFile, 'utf8')
  }
}

/** The paragraph of the install step's output about one missing thing. */
export function paragraphAbout(what: string, output: string): string | undefined {
  return output.split('\n\n').find((text) => text.startsWith(`Missing: ${what}.`))
}

/** A PATH with everything that is on this one, except programs with one of these names. */
export function pathWithout(...names: string[]): string {
  const folder = newFolder()
  // By name, not by what a link leads to: some lead nowhere, and the first on the PATH counts all the same.
  const taken = new Set(names)
  for (const directory of (process.env.PATH ?? '').split(delimiter).filter(existsSync)) {
    for (const program of readdirSync(directory)) {
      if (!taken.has(program)) symlinkSync(join(directory, program), join(folder, program))
      taken.add(program)
    }
  }
  return folder
}

/** Such that nothing can be built: the quickest way to see what happens then. */
export const withoutTools = (): NodeJS.ProcessEnv => ({
  PATH: pathWithout('cmake', 'make', 'gmake', 'cc', 'c++', 'gcc', 'g++', 'clang', 'clang++'),
})

/** A shell script under a program's name, in a folder of its own. */
export function fakeProgram(name: string, script: string): string {
  const file = join(newFolder(), name)
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
  return file
}
