/** Builds an addon that other machines can load, and says what it asks of them. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { runCmakeJs } from '../install/native.mjs'
import { buildDirectory } from '../install/paths.mjs'
import { run } from '../install/processes.mjs'
import { paragraphs } from '../install/report.mjs'
import { findSources } from '../install/sources.mjs'
import { checkTools } from '../install/tools.mjs'

/**
 * This system's is made from the objects of the addon in build/, and linked in another way. Other compilers,
 * and other flags of the compiler (macOS), have a folder of their own beside the packages.
 * @param {string | undefined} target
 */
function folderOf(target) {
  if (target !== undefined) return join(buildDirectory, 'packages', `cmake-${target}`)
  return process.platform === 'darwin' ? join(buildDirectory, 'packages', 'cmake') : buildDirectory
}

/** What a CPU is called by CMake, and in the names of Debian's cross compilers. */
const PROCESSORS = { x64: 'x86_64', arm64: 'aarch64' }

/** What Node.js 20 itself asks for (BUILDING.md in its sources): no addon has to run below it. */
const MAX_GLIBC = '2.28'

/**
 * The oldest macOS for the addon, by CPU. For x64 it is what Node.js 20 is compiled for
 * (`MACOSX_DEPLOYMENT_TARGET` in `include/node/common.gypi` of its headers); for arm64 the first macOS there.
 */
const OLDEST_MACOS = { x64: '10.15', arm64: '11.0' }

/**
 * @typedef {object} Built
 * @property {string} file the addon
 * @property {number} bytes its size
 * @property {string} openssl the version compiled in, for example `OpenSSL 3.0.17 1 Jul 2025`
 * @property {string} [glibc] on Linux with glibc: the oldest one that the addon loads with
 * @property {string} upstream the folder with the µWebSockets sources
 * @property {string} zlibHeader the file zlib.h
 * @property {'libstdc++' | 'libc++' | undefined} cxxLibrary what of C++ is compiled in
 * @property {string | undefined} loadedBy the version of the Node that has loaded it
 */

/**
 * @typedef {object} Target what is not for the system at hand
 * @property {import('../../src/engine/native/platform-package.js').System} system
 * @property {string} name for example `linux-arm64-gnu`
 * @property {readonly string[]} node a command that runs a Node of that system; empty where there is none
 */

/**
 * For this system, or for another one by the compilers that CC and CXX name: without them by the cross
 * compilers that Debian has for the CPU.
 * @param {Target} [target]
 * @returns {Built}
 */
export function buildForOthers(target) {
  const definitions = []
  if (target !== undefined) {
    const { os, cpu, libc } = target.system
    const processor = PROCESSORS[cpu]
    if (os !== 'linux') throw new Error('A package for macOS is built on macOS.')
    definitions.push('CMAKE_SYSTEM_NAME=Linux', `CMAKE_SYSTEM_PROCESSOR=${processor}`)
    // Otherwise CMake is told of the OpenSSL for the system at hand.
    process.env.PKG_CONFIG_LIBDIR ??= `/usr/lib/${processor}-linux-gnu/pkgconfig`
    if (libc === 'glibc') {
      process.env.CC ??= `${processor}-linux-gnu-gcc`
      process.env.CXX ??= `${processor}-linux-gnu-g++`
    } else if (!process.env.CC || !process.env.CXX) throw new Error('CC and CXX must name compilers for musl.')
    else definitions.push('LTO=OFF')
  }
  const folder = folderOf(target?.name)
  const sources = findSources()
  const tools = checkTools()
  const missing = [...sources.missing, ...tools.missing]
  if (!sources.directory || missing.length > 0) throw new Error(paragraphs(missing))
  /** @type {NodeJS.ProcessEnv} */
  const env = { UWEBSOCKETS_DIR: sources.directory }
  if (process.platform === 'darwin') {
    const oldest = OLDEST_MACOS[process.arch === 'x64' ? 'x64' : 'arm64']
    definitions.push(`CMAKE_OSX_DEPLOYMENT_TARGET=${oldest}`)
    // For the Makefile of µSockets, which CMake's flags do not reach.
    env.MACOSX_DEPLOYMENT_TARGET = oldest
  }
  const failure = runCmakeJs(folder, tools, { definitions, target: 'prebuilt_addon', env })
  if (failure) throw new Error(`The build failed.\n\n${failure}`)

  const file = join(folder, 'prebuilt', 'native_websocket_server.node')
  const isForLinux = (target?.system.os ?? process.platform) === 'linux'
  const isForMusl = target?.system.libc === 'musl'
  const glibc = isForLinux ? oldestGlibc(file) : undefined
  if (isForMusl && glibc !== undefined) throw new Error(`The addon is for musl, and needs glibc ${glibc}.`)
  return {
    file,
    bytes: statSync(file).size,
    openssl: opensslVersion(folder),
    ...(glibc && { glibc }),
    upstream: sources.directory,
    zlibHeader: join(cached(folder, 'ZLIB_INCLUDE_DIR', 'PATH'), 'zlib.h'),
    cxxLibrary: isForLinux ? cxxLibraryOf(tools.cxx ?? []) : undefined,
    loadedBy: load(file, target === undefined ? [process.execPath] : target.node),
  }
}

/**
 * @param {string} file
 * @param {readonly string[]} node
 */
function load(file, node) {
  if (node.length === 0) return undefined
  const { ok, output } = run([...node, '-p', 'require(process.argv[1]) && process.version', file])
  if (!ok) throw new Error(`${node.join(' ')} cannot load the addon.\n\n${output}`)
  return output
}

/** @param {readonly string[]} cxx */
function cxxLibraryOf(cxx) {
  const { output } = run([...cxx, '-x', 'c++', '-std=c++20', '-dM', '-E', '-'], { input: '#include <version>\n' })
  return /define _LIBCPP_VERSION /.test(output) ? 'libc++' : 'libstdc++'
}

/**
 * What decides: the newest version of a function of glibc that the addon takes. Undefined where it takes
 * none, as with musl. Throws where that is newer than what Node itself asks for, or where another library is
 * needed than those that every Node has loaded.
 * @param {string} file
 */
function oldestGlibc(file) {
  const { ok, output } = run(['objdump', '-p', file])
  if (!ok) throw new Error(`objdump (from binutils) cannot read the addon: ${output}`)
  const libraries = [...output.matchAll(/NEEDED +(\S+)/g)].map(([, name = '']) => name)
  const foreign = libraries.filter((name) => !/^(libc|libgcc_s|ld-linux-.*|libm|libdl|libpthread|libc\.musl-.*)\.so/.test(name))
  if (foreign.length > 0) throw new Error(`The addon needs ${foreign.join(', ')}, which other systems may not have.`)
  const versions = [...output.matchAll(/\bGLIBC_(\d[\d.]*)/g)].map(([, version = '']) => version)
  const [newest] = versions.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  if (newest !== undefined && newest.localeCompare(MAX_GLIBC, 'en', { numeric: true }) > 0) {
    const { output: symbols } = run(['objdump', '-T', file])
    const lines = symbols.split('\n').filter((line) => line.includes(`(GLIBC_${newest})`))
    throw new Error(
      `The addon needs glibc ${newest}; native/prebuilt/older_glibc.c must wrap what is newer than ${MAX_GLIBC}:\n${lines.join('\n')}`,
    )
  }
  return newest
}

/** @param {string} folder */
function opensslVersion(folder) {
  const header = readFileSync(join(cached(folder, 'OPENSSL_INCLUDE_DIR', 'PATH'), 'openssl', 'opensslv.h'), 'utf8')
  const text = /OPENSSL_VERSION_TEXT +"([^"]+)"/.exec(header)?.[1]
  if (text === undefined)
    throw new Error('Packages are made with OpenSSL: scripts/packages/licences.mjs has the licences of no other TLS library.')
  return text
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {string} type
 */
function cached(folder, name, type) {
  const cache = readFileSync(join(folder, 'CMakeCache.txt'), 'utf8')
  const value = new RegExp(`^${name}:${type}=(/.*)$`, 'm').exec(cache)?.[1]
  if (value === undefined) throw new Error(`CMake has not found ${name}.`)
  return value
}
