/** Checks, all in one go, that everything the native build needs is there. */
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import process from 'node:process'
import { root } from './paths.mjs'
import { run, which } from './processes.mjs'
import { remedies } from './remedies.mjs'

/** @typedef {import('./report.mjs').Missing} Missing */

/**
 * What the build is to use: commands as words, include folders only where they are not the compiler's own.
 * @typedef {object} Tools
 * @property {Missing[]} missing
 * @property {readonly string[]} [cc]
 * @property {readonly string[]} [cxx]
 * @property {string} [opensslRoot]
 * @property {string} [uvIncludeDirectory]
 */

/** Where headers are looked for when there is no compiler to ask. */
const SYSTEM_INCLUDES = ['/usr/include', '/usr/local/include', '/opt/local/include']
/** Where libraries are, likewise. */
const MULTIARCH = `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
const LIBRARY_FOLDERS = ['lib', 'lib64', `lib/${MULTIARCH}`]
/** Homebrew keeps OpenSSL out of the compiler's sight, on ARM and Intel machines. */
const HOMEBREW_OPENSSL = ['/opt/homebrew/opt/openssl@3', '/usr/local/opt/openssl@3']

/** Rejected by every compiler that is too old for C++20, and by one whose standard library is. */
const CXX20_PROBE = `
#include <bit>
#include <concepts>
#include <span>
#include <string_view>
template <std::unsigned_integral T> constexpr T twice(T value) { return std::rotl(value, 1); }
struct Range { int first = 0; int last = 0; };
int main() {
  int numbers[] = {1, 2};
  constexpr Range range{.first = 1};
  return static_cast<int>(twice(2u) + std::span(numbers).size()) - range.first + std::string_view("x").starts_with('y');
}
`

/** @returns {Tools} */
export function checkTools() {
  const cc = findCompiler('CC', ['cc', 'gcc', 'clang'])
  const cxx = findCompiler('CXX', ['c++', 'g++', 'clang++'])
  /** @type {Tools} */
  const tools = { missing: [] }
  if (cc.command) tools.cc = cc.command
  if (cxx.command) tools.cxx = cxx.command

  const openssl = findHeader(
    'openssl/ssl.h',
    tools.cc,
    opensslRoots().map((folder) => join(folder, 'include')),
  )
  if (openssl.directory) tools.opensslRoot = dirname(openssl.directory)
  const zlib = findHeader(
    'zlib.h',
    tools.cc,
    prefixes().map((folder) => join(folder, 'include')),
  )
  const uv = findHeader('uv.h', tools.cc, nodeIncludes())
  if (uv.directory) tools.uvIncludeDirectory = uv.directory

  tools.missing = [
    checkCmake(),
    which('gmake') || which('make')
      ? undefined
      : { what: 'make', tried: 'gmake and make were looked for on PATH.', remedies: remedies.make },
    checkCompiler('a C compiler', cc, ['-x', 'c', '-std=c11'], 'int main(void) { return 0; }\n'),
    checkCompiler('a C++20 compiler', cxx, ['-x', 'c++', '-std=c++20'], CXX20_PROBE),
    openssl.tried
      ? { what: "OpenSSL's header openssl/ssl.h", tried: openssl.tried, remedies: remedies.openssl }
      : checkStaticOpenssl(tools),
    zlib.tried ? { what: "zlib's header zlib.h", tried: zlib.tried, remedies: remedies.zlib } : checkStaticZlib(tools),
    uv.tried ? { what: "libuv's header uv.h", tried: uv.tried, remedies: remedies.libuv } : undefined,
  ].filter((missing) => missing !== undefined)
  return tools
}

/** @returns {Missing | undefined} */
function checkCmake() {
  const [, needed = '3.16'] =
    /cmake_minimum_required\(VERSION ([\d.]+)/.exec(readFileSync(join(root, 'CMakeLists.txt'), 'utf8')) ?? []
  const what = `cmake ${needed} or later`
  const cmake = which('cmake')
  if (!cmake) return { what, tried: 'It was looked for on PATH.', remedies: remedies.cmake }
  const { output } = run([cmake, '--version'])
  const [, version] = /version (\d+(?:\.\d+)*)/.exec(output) ?? []
  if (version && version.localeCompare(needed, 'en', { numeric: true }) >= 0) return undefined
  return { what, tried: `"${cmake} --version" said: ${firstLine(output)}.`, remedies: remedies.cmake }
}

/**
 * The compiler that `variable` names (its arguments included), or the first of `names` on PATH: what CMake
 * does too.
 * @param {'CC' | 'CXX'} variable
 * @param {readonly string[]} names
 * @returns {{ command?: readonly string[], tried: string }}
 */
export function findCompiler(variable, names) {
  const [named, ...args] = (process.env[variable] ?? '').split(/\s+/).filter(Boolean)
  const program = (named ? [named] : names).map(which).find((path) => path !== undefined)
  const tried = named
    ? `${variable}=${named} was looked for.`
    : `${names.join(', ')} were looked for on PATH, and ${variable} is not set.`
  return program ? { command: [program, ...args], tried } : { tried }
}

/**
 * @param {string} what
 * @param {{ command?: readonly string[], tried: string }} compiler
 * @param {readonly string[]} flags
 * @param {string} source
 * @returns {Missing | undefined}
 */
function checkCompiler(what, { command, tried }, flags, source) {
  if (!command) return { what, tried, remedies: remedies.compiler }
  const { ok, output } = compile(command, flags, source)
  if (ok) return undefined
  return {
    what,
    tried: `${command.join(' ')} is there, but does not compile a small program with ${flags.at(-1)}:\n${quote(output)}`,
    remedies: remedies.compiler,
  }
}

/**
 * Looks for a header in `folders`, then where the compiler looks by itself, or would if there were one.
 * `directory` is set when it is one of `folders`; `tried` when it is nowhere.
 * @param {string} header
 * @param {readonly string[] | undefined} cc
 * @param {readonly string[]} folders
 * @returns {{ directory?: string, tried?: string }}
 */
function findHeader(header, cc, folders) {
  const directory = folders.find((folder) => existsSync(join(folder, header)))
  if (directory) return { directory }
  const first = folders.length > 0 ? `It is not in ${folders.join(' nor ')}. ` : ''
  if (!cc) {
    if (SYSTEM_INCLUDES.some((folder) => existsSync(join(folder, header)))) return {}
    return { tried: `${first}It is not in ${SYSTEM_INCLUDES.join(' nor ')} (and there is no compiler to ask).` }
  }
  const { ok, output } = compile(cc, ['-x', 'c'], `#include <stddef.h>\n#include <${header}>\n`)
  return ok ? {} : { tried: `${first}${cc.join(' ')} cannot include it:\n${quote(output)}` }
}

/**
 * The addon must carry an OpenSSL of its own: with shared libraries it would end up with the one that Node
 * exports, which is another version than its headers.
 * @param {Tools} tools
 * @returns {Missing | undefined}
 */
function checkStaticOpenssl({ cc, opensslRoot }) {
  const absent = ['libssl.a', 'libcrypto.a'].filter((library) => !hasLibrary(library, cc, opensslRoot))
  if (absent.length === 0) return undefined
  const places = opensslRoot || !cc ? libraryFolders(opensslRoot).join(' nor ') : `where ${cc.join(' ')} looks for libraries`
  return {
    what: "OpenSSL's static libraries",
    tried:
      `There is no ${absent.join(' and no ')} ${opensslRoot || !cc ? 'in ' : ''}${places}. ` +
      'The shared libraries are not enough: the addon would get mixed up with the OpenSSL that is inside Node.js.',
    remedies: remedies.staticOpenssl,
  }
}

/**
 * Likewise, but for macOS: its linker notes for each symbol which library it is from.
 * @param {Tools} tools
 * @returns {Missing | undefined}
 */
function checkStaticZlib({ cc }) {
  if (process.platform === 'darwin' || prefixes().some((folder) => hasLibrary('libz.a', cc, folder))) return undefined
  if (hasLibrary('libz.a', cc, undefined)) return undefined
  const places = cc ? `where ${cc.join(' ')} looks for libraries` : `in ${libraryFolders(undefined).join(' nor ')}`
  return {
    what: "zlib's static library",
    tried:
      `There is no libz.a ${places}. ` +
      'The shared library is not enough: the addon would get mixed up with the zlib that is inside Node.js.',
    remedies: remedies.staticZlib,
  }
}

/**
 * @param {string} library
 * @param {readonly string[] | undefined} cc
 * @param {string | undefined} opensslRoot
 */
function hasLibrary(library, cc, opensslRoot) {
  if (opensslRoot || !cc) return libraryFolders(opensslRoot).some((folder) => existsSync(join(folder, library)))
  // The name comes back as it is when the compiler does not find it.
  const path = run([...cc, `-print-file-name=${library}`]).output
  return isAbsolute(path) && existsSync(path)
}

/** @param {string | undefined} opensslRoot */
function libraryFolders(opensslRoot) {
  return (opensslRoot ? [opensslRoot] : ['/usr', '/usr/local']).flatMap((base) =>
    LIBRARY_FOLDERS.map((folder) => join(base, folder)),
  )
}

/** Where CMake looks first. */
function prefixes() {
  return (process.env.CMAKE_PREFIX_PATH ?? '').split(delimiter).filter(Boolean)
}

/** Folders with an OpenSSL that the compiler does not find by itself. */
function opensslRoots() {
  const named = process.env.OPENSSL_ROOT_DIR
  if (named) return [resolve(root, named)]
  return process.platform === 'darwin' ? HOMEBREW_OPENSSL : []
}

/** Node's loop is the one that the addon runs on, so the header that came with Node is asked first. */
function nodeIncludes() {
  const beside = resolve(dirname(realpathSync(process.execPath)), '..', 'include', 'node')
  const nodedir = process.env.npm_config_nodedir
  return [...new Set([beside, ...(nodedir ? [join(nodedir, 'include', 'node')] : [])])]
}

/** Where Node's own uv.h is; undefined when only the system can have one. */
export function findNodeUvHeader() {
  return nodeIncludes().find((folder) => existsSync(join(folder, 'uv.h')))
}

/**
 * @param {readonly string[]} command
 * @param {readonly string[]} flags
 * @param {string} source
 */
function compile(command, flags, source) {
  return run([...command, ...flags, '-fsyntax-only', '-'], { input: source })
}

/** @param {string} output */
function firstLine(output) {
  return output.split('\n', 1)[0] || 'nothing'
}

/** @param {string} output */
function quote(output) {
  return output
    .split('\n')
    .slice(0, 4)
    .map((line) => `  | ${line}`)
    .join('\n')
}
