/**
 * Hosts on one machine: network namespaces, joined by a bridge in one more of them. Nothing of it is seen
 * outside; all of it goes when the process ends, and what a killed process has left goes before the next run.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import process from 'node:process'

/** Debian puts `ip` and nats-server where only root looks for programs. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
/** Of names of devices, which may have 15 characters. */
const PREFIX = 'nws'

/** @param {...string} args */
function ip(...args) {
  return execFileSync('ip', args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Why there can be no such hosts here; undefined when there can. @returns {string | undefined} */
export function whyNoHosts() {
  if (process.platform !== 'linux') return 'network namespaces are a part of Linux'
  if (process.geteuid?.() !== 0) return 'network namespaces need root'
  const name = `${PREFIX}${process.pid}-probe`
  try {
    ip('netns', 'add', name)
    ip('-n', name, 'link', 'add', 'probe', 'type', 'bridge')
    return undefined
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return 'ip (of iproute2) is not installed'
    return `network namespaces cannot be made: ${cause instanceof Error ? cause.message : cause}`
  } finally {
    try {
      ip('netns', 'del', name)
    } catch {
      // It was not made.
    }
  }
}

export class Network {
  #name = `${PREFIX}${process.pid}-`
  /** @type {string[]} */ #spaces = []
  /** @type {Set<import('node:child_process').ChildProcess>} */ #children = new Set()
  #remove = () => this.remove()

  /** @param {readonly string[]} hosts names, which get the addresses 10.77.0.1, 10.77.0.2 and so on */
  constructor(hosts) {
    removeAbandoned()
    process.on('exit', this.#remove)
    this.#add('wire')
    ip('-n', this.#space('wire'), 'link', 'add', 'bridge', 'type', 'bridge')
    ip('-n', this.#space('wire'), 'link', 'set', 'bridge', 'up')
    for (const [index, host] of hosts.entries()) {
      const space = this.#add(host)
      const wire = this.#space('wire')
      ip('-n', space, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', host, 'netns', wire)
      ip('-n', wire, 'link', 'set', host, 'master', 'bridge', 'up')
      ip('-n', space, 'addr', 'add', `10.77.0.${index + 1}/24`, 'dev', 'eth0')
      ip('-n', space, 'link', 'set', 'eth0', 'up')
      ip('-n', space, 'link', 'set', 'lo', 'up')
    }
  }

  /** @param {string} host */
  #space(host) {
    return this.#name + host
  }

  /** @param {string} host */
  #add(host) {
    const space = this.#space(host)
    ip('netns', 'add', space)
    this.#spaces.push(space)
    return space
  }

  /** Plugs the cable of a host in or out, at the bridge. @param {string} host @param {'up' | 'down'} state */
  link(host, state) {
    ip('-n', this.#space('wire'), 'link', 'set', host, state)
  }

  /**
   * Starts a program on a host. It ends with this process, however that ends.
   * @param {string} host @param {readonly string[]} command
   * @param {import('node:child_process').StdioOptions} stdio
   */
  spawn(host, command, stdio) {
    // Both become the next program: the process id is the program's.
    const args = ['netns', 'exec', this.#space(host), 'setpriv', '--pdeathsig', 'KILL', ...command]
    const child = spawn('ip', args, { stdio, env })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  remove() {
    process.off('exit', this.#remove)
    for (const child of this.#children) child.kill('SIGKILL')
    for (const space of this.#spaces) ip('netns', 'del', space)
    this.#spaces = []
  }
}

/** Namespaces of processes that are gone. */
function removeAbandoned() {
  for (const [name, pid] of ip('netns', 'list').matchAll(new RegExp(`^${PREFIX}(\\d+)-[a-z0-9]+`, 'gm')))
    if (!existsSync(`/proc/${pid}`)) ip('netns', 'del', name)
}
