/**
 * Who takes part, and how each is started. A contender is one process, on a core of its own; in works about
 * backplanes, it is several (backplane/members.mjs).
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { complaintIn } from './complaint.mjs'
import { benchDirectory, certificate, SERVER_CORE } from './places.mjs'
import { worksOf } from './works.mjs'

/**
 * @typedef {object} Contender
 * @property {string} id
 * @property {string} title
 * @property {readonly string[]} [command] what to run; mode and certificate are added
 * @property {readonly string[]} [members] what to run in works about backplanes; role and broker are added
 * @property {Readonly<Record<string, string>>} [env]
 * @property {() => string} version
 * @property {boolean} [quick] takes part in quick runs too
 * @property {readonly string[]} [load] what the generator must be told besides
 * @property {{ works: readonly string[], because: string }} [only] the works that it takes part in, when that
 *   is not all
 */

/** @param {string} name */
const program = (name) => join(benchDirectory, 'build', name)
/** @param {string} name */
const node = (name) => [process.execPath, '--expose-gc', join(benchDirectory, 'contenders', `${name}.mjs`)]
const bun = join(benchDirectory, 'node_modules', 'bun', 'bin', 'bun.exe') // so called on every system

/** @param {string} name */
function packageVersion(name) {
  return `${name} ${JSON.parse(readFileSync(join(benchDirectory, 'node_modules', name, 'package.json'), 'utf8')).version}`
}

function ownVersion() {
  return `native-websocket-server ${JSON.parse(readFileSync(join(benchDirectory, '..', 'package.json'), 'utf8')).version}`
}

/** The package is the project's, not the bench's: both contenders on NATS have the same. */
function natsVersion() {
  const file = join(benchDirectory, '..', 'node_modules', '@nats-io', 'transport-node', 'package.json')
  return `@nats-io/transport-node ${JSON.parse(readFileSync(file, 'utf8')).version}`
}

function upstreamVersion() {
  const upstream = process.env.UWEBSOCKETS_DIR ?? join(benchDirectory, '..', 'external', 'uwebsockets')
  const described = spawnSync('git', ['-C', upstream, 'describe', '--tags', '--always'], { encoding: 'utf8' }).stdout?.trim()
  return `µWebSockets ${described || 'of unknown version'}`
}

const FACES = {
  works: ['ws-20-text', 'ws-20-binary', 'ws-1k-text', 'ws-connect'],
  because: 'a face adds to each message and handshake of its server what does not depend on the rest of a work',
}

/**
 * socket.io on something other than `ws`.
 * @param {string} transport
 * @param {string} title
 * @param {() => string} version
 */
const socketIoOn = (transport, title, version) => ({
  id: `socket.io-${transport}`,
  title: `socket.io on ${title}`,
  command: node('socket-io'),
  env: { TRANSPORT: transport },
  version,
  load: ['--socket-io'],
  only: { works: ['socket-io-20-text'], because: 'its messages are events of socket.io' },
})

/** The first one is what the others are compared with. @type {Contender[]} */
export const CONTENDERS = [
  {
    id: 'limit-epoll',
    title: 'C++ µWebSockets (epoll)',
    command: [program('limit-epoll')],
    version: upstreamVersion,
    quick: true,
  },
  { id: 'limit-libuv', title: 'C++ µWebSockets (libuv)', command: [program('limit-libuv')], version: upstreamVersion },
  {
    id: 'native',
    title: 'this server, native',
    command: node('this-server'),
    members: node('backplane/this-server'),
    version: ownVersion,
    quick: true,
  },
  {
    id: 'native-lending',
    title: 'this server, native, with lendMessages',
    command: node('this-server'),
    env: { LEND: '1' },
    version: ownVersion,
    only: { works: ['ws-16k-binary', 'wss-16k-binary'], because: 'other messages are short, or text, and not lent' },
  },
  {
    id: 'uwebsockets',
    title: 'uWebSockets.js',
    command: node('uwebsockets'),
    version: () => packageVersion('uWebSockets.js'),
    quick: true,
  },
  {
    id: 'bun',
    title: 'Bun',
    command: [bun, join(benchDirectory, 'contenders', 'bun.mjs')],
    version: () => packageVersion('bun'),
    quick: true,
  },
  { id: 'hyper-express', title: 'hyper-express', command: node('hyper-express'), version: () => packageVersion('hyper-express') },
  {
    id: 'portable',
    title: 'this server, portable',
    command: node('this-server'),
    members: node('backplane/this-server'),
    env: { ENGINE: 'portable' },
    version: ownVersion,
  },
  { id: 'ws', title: 'ws', command: node('ws'), version: () => packageVersion('ws'), quick: true },
  {
    id: 'face-ws',
    title: 'this server, by its face of ws',
    command: node('ws'),
    env: { FACE: '1' },
    version: ownVersion,
    only: FACES,
  },
  {
    id: 'face-uws',
    title: 'this server, by its face of uWebSockets.js',
    command: node('uwebsockets'),
    env: { FACE: '1' },
    version: ownVersion,
    only: FACES,
  },
  {
    id: 'socket.io',
    title: 'socket.io, on `ws`',
    command: node('socket-io'),
    version: () => packageVersion('socket.io'),
    load: ['--socket-io'],
    only: {
      works: ['ws-20-text', 'socket-io-20-text'],
      because:
        'its messages are events in a protocol of its own, 36 bytes for a text of 20, which is more work and another than its peers do',
    },
  },
  socketIoOn('uwebsockets', 'uWebSockets.js', () => `${packageVersion('socket.io')}, ${packageVersion('uWebSockets.js')}`),
  socketIoOn('face-ws', "this server's face of ws", () => `${packageVersion('socket.io')}, ${ownVersion()}`),
  socketIoOn('face-uws', "this server's face of uWebSockets.js", () => `${packageVersion('socket.io')}, ${ownVersion()}`),
  {
    id: 'ioredis',
    title: 'by hand, with ioredis',
    members: node('backplane/ioredis'),
    version: () => packageVersion('ioredis'),
    only: { works: worksOf('backplane-redis'), because: 'it is a backplane of a few lines, on this server' },
  },
  {
    id: 'socket.io-redis',
    title: 'socket.io with its Redis adapter',
    members: node('backplane/socket-io'),
    version: () => `${packageVersion('socket.io')} with ${packageVersion('@socket.io/redis-adapter')}`,
    load: ['--socket-io'],
    only: {
      works: worksOf('backplane-redis'),
      because: 'it is a backplane, whose messages are events in a protocol of its own, 116 bytes for a text of 100',
    },
  },
  {
    id: 'nats',
    title: 'by hand, with the client of NATS',
    members: node('backplane/nats'),
    version: natsVersion,
    only: { works: worksOf('backplane-nats'), because: 'it is a backplane of a few lines, on this server' },
  },
]

/**
 * Adds another checkout of this project, for a change to be shown against what was before it.
 * @param {string} directory
 * @param {number} index how many have been added before
 */
export function addBaseline(directory, index) {
  const number = index === 0 ? '' : index + 1
  CONTENDERS.push({
    id: number ? `baseline-${number}` : 'baseline',
    title: number ? `baseline ${number}` : 'the baseline',
    command: [process.execPath, '--expose-gc', join(resolve(directory), 'bench', 'contenders', 'this-server.mjs')],
    members: [process.execPath, '--expose-gc', join(resolve(directory), 'bench', 'contenders', 'backplane', 'this-server.mjs')],
    version: () => spawnSync('git', ['-C', directory, 'describe', '--always'], { encoding: 'utf8' }).stdout.trim(),
  })
}

/** @param {string} id */
export function contenderNamed(id) {
  const found = CONTENDERS.find((contender) => contender.id === id)
  if (!found)
    throw new Error(`no contender is called "${id}"; there are ${CONTENDERS.map((contender) => contender.id).join(', ')}`)
  return found
}

/** @param {Contender} contender @param {import('./works.mjs').Work} work */
export function takesPart({ id, command, members, only }, work) {
  const isAsked = work.contenders?.includes(id) ?? only?.works.includes(work.id) ?? true
  return isAsked && (work.backplane ? members : command) !== undefined
}

/** @param {Contender} contender */
export function versionOf(contender) {
  try {
    return contender.version()
  } catch {
    return 'unknown'
  }
}

/** A running server. */
export class Server {
  /** @type {import('node:child_process').ChildProcess} */ #child
  #errors = ''
  port = 0
  hasEnded = false

  /** @param {Contender} contender @param {import('./works.mjs').ServerMode} mode @param {boolean} tls */
  constructor(contender, mode, tls) {
    const [file = '', ...rest] = contender.command ?? []
    if (!existsSync(file)) throw new Error(`${relative(benchDirectory, file)} is missing`)
    const command = ['-c', String(SERVER_CORE), file, ...rest, mode, ...(tls ? [certificate.key, certificate.cert] : [])]
    // taskset becomes the server: its process id is the server's.
    this.#child = spawn('taskset', command, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...contender.env } })
    this.#child.stderr?.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
      this.#errors = (this.#errors + text).slice(0, 2000)
    })
    this.#child.on('exit', () => {
      this.hasEnded = true
    })
  }

  get pid() {
    return this.#child.pid ?? 0
  }

  /** What it wrote to its error output, in one line. */
  get complaint() {
    return complaintIn(this.#errors, this.hasEnded ? this.#child : undefined)
  }

  /** @param {Contender} contender @param {import('./works.mjs').ServerMode} mode @param {boolean} tls */
  static async start(contender, mode, tls) {
    const server = new Server(contender, mode, tls)
    const lines = createInterface({ input: /** @type {import('node:stream').Readable} */ (server.#child.stdout) })
    const late = setTimeout(() => server.#child.kill('SIGKILL'), 20_000)
    for await (const line of lines) {
      // Something else may be said first.
      if (/^\d+$/.test(line.trim())) {
        server.port = Number(line)
        break
      }
    }
    clearTimeout(late)
    if (server.port === 0) {
      await server.stop()
      throw new Error(`it does not start: ${server.complaint || 'it prints no port'}`)
    }
    return server
  }

  /**
   * Asks for a garbage collection. Programs without one do not understand the signal. @param {Contender}
   * contender
   */
  collectGarbage(contender) {
    if (!contender.id.startsWith('limit')) this.#child.kill('SIGUSR2')
  }

  /** A line of /proc/PID/status, in bytes. @param {'VmRSS' | 'VmHWM'} name resident now, or at most */
  memory(name) {
    const found = new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))
    return Number(found?.[1] ?? Number.NaN) * 1024
  }

  async stop() {
    if (this.hasEnded) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }
}
