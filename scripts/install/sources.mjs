/**
 * The µWebSockets and µSockets sources: from UWEBSOCKETS_DIR, from the npm tarball, or from the git
 * submodules.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { root, tryAgain, upstreamDirectory } from './paths.mjs'
import { run, which } from './processes.mjs'
import { remedies } from './remedies.mjs'

/** A transfer that takes longer than this is given up: milliseconds. */
const GIT_TIMEOUT = 10 * 60 * 1000

/** Where what brings the sources is the same command. */
const EVERYWHERE = 'Debian, Ubuntu, Fedora, Alpine, macOS'

/** @typedef {import('./report.mjs').Missing} Missing */

/**
 * The folder with the sources, after fetching what can be fetched; without one, `missing` says why. `note` is
 * worth a line.
 * @returns {{ directory?: string, missing: Missing[], note?: string }}
 */
export function findSources() {
  const elsewhere = process.env.UWEBSOCKETS_DIR
  if (elsewhere) {
    const directory = resolve(root, elsewhere)
    const absent = absentFile(directory)
    return absent ? { missing: [wrongFolder(directory, absent)] } : { directory, missing: [] }
  }

  if (!absentFile(upstreamDirectory)) return { directory: upstreamDirectory, missing: [], ...staleSubmodule() }
  // Without a .git of our own, git would find another repository in the folders above.
  if (!existsSync(join(root, '.git'))) return { missing: [notAClone()] }
  const git = which('git')
  if (!git)
    return {
      missing: [{ what: 'git', tried: 'It was looked for on PATH, to fetch the µWebSockets sources.', remedies: remedies.git }],
    }

  // By name, one inside the other: --recursive would fetch hundreds of megabytes that nothing here uses.
  const failure = updateSubmodule(git, root, 'external/uwebsockets') ?? updateSubmodule(git, upstreamDirectory, 'uSockets')
  if (failure) return { missing: [failure] }
  const absent = absentFile(upstreamDirectory)
  return absent ? { missing: [wrongFolder(upstreamDirectory, absent)] } : { directory: upstreamDirectory, missing: [] }
}

/**
 * The first of the files that prove a folder to be what we need, and that is not there.
 * @param {string} directory
 */
function absentFile(directory) {
  const needed = ['src/App.h', 'uSockets/Makefile', 'uSockets/src/libusockets.h']
  return needed.find((file) => !existsSync(join(directory, file)))
}

/**
 * @param {string} git
 * @param {string} repository
 * @param {string} submodule
 * @returns {Missing | undefined}
 */
function updateSubmodule(git, repository, submodule) {
  const args = ['submodule', 'update', '--init', submodule]
  const { ok, output } = run([git, ...args], { cwd: repository, env: gitEnvironment(), timeout: GIT_TIMEOUT })
  if (ok) return undefined
  return {
    what:
      submodule === 'uSockets'
        ? 'µSockets (the submodule inside external/uwebsockets)'
        : 'µWebSockets (the submodule external/uwebsockets)',
    tried: `"git ${args.join(' ')}" said:\n${[...new Set(output.split('\n'))].map((line) => `  | ${line}`).join('\n')}`,
    remedies: [
      [`${EVERYWHERE}, once it can be reached`, tryAgain],
      [`${EVERYWHERE}, with a checkout of it`, `UWEBSOCKETS_DIR=/path/to/uWebSockets ${tryAgain}`],
    ],
  }
}

/**
 * Git as the user would call it: no questions asked, and nothing inherited from a hook that may have started
 * us.
 */
function gitEnvironment() {
  const { GIT_DIR, GIT_WORK_TREE, GIT_INDEX_FILE, ...env } = process.env
  return { ...env, GIT_TERMINAL_PROMPT: '0' }
}

/** After a pull that moved the pin, the old sources are still checked out: say so, and leave the choice. */
function staleSubmodule() {
  const git = existsSync(join(root, '.git')) ? which('git') : undefined
  if (!git) return {}
  const status = run([git, 'submodule', 'status', 'external/uwebsockets'], { cwd: root, env: gitEnvironment() })
  if (!status.ok || !status.output.startsWith('+')) return {}
  return {
    note: 'external/uwebsockets is not at the commit that is pinned; "git submodule update external/uwebsockets" takes it there.',
  }
}

/** @returns {Missing} */
function notAClone() {
  return {
    what: 'µWebSockets (external/uwebsockets)',
    tried: 'This folder is neither a git clone, which can fetch it, nor the npm package, which carries it.',
    remedies: [
      [EVERYWHERE, 'git clone this project (a downloaded archive has no submodules), then npm install'],
      [`${EVERYWHERE}, with a checkout of it`, `UWEBSOCKETS_DIR=/path/to/uWebSockets ${tryAgain}`],
    ],
  }
}

/**
 * @param {string} directory
 * @param {string} absent
 * @returns {Missing}
 */
function wrongFolder(directory, absent) {
  return {
    what: `${absent} (in ${directory})`,
    tried: 'The folder must be a µWebSockets checkout with its own submodule uSockets.',
    remedies: [[EVERYWHERE, `git -C ${directory} submodule update --init uSockets`]],
  }
}
