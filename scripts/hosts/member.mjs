/** A process on a host, of servers or of clients, and what it says. */
import { once } from 'node:events'
import { join } from 'node:path'
import process from 'node:process'
import { root } from '../install/paths.mjs'

export class Member {
  #child
  #asked = 0
  /** @type {Map<number, (state: any) => void>} */ #replies = new Map()
  /** @type {Promise<unknown>} */ #ready
  #errors = ''

  /**
   * @param {import('./network.mjs').Network} network @param {string} host
   * @param {string} fixture @param {object} options
   * @param {import('./run.mjs').Told[]} told
   */
  constructor(network, host, fixture, options, told) {
    const command = [process.execPath, join(root, 'test', 'fixtures', fixture), JSON.stringify(options)]
    this.#child = network.spawn(host, command, ['ignore', 'ignore', 'pipe', 'ipc'])
    this.#child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#errors += text
    })
    this.#ready = new Promise((resolve, reject) => {
      this.#child.once('exit', () => reject(new Error(`${fixture} has ended: ${this.#errors}`)))
      this.#child.on('message', (/** @type {any} */ message) => {
        if (message.ready) resolve(undefined)
        if (message.event) told.push(message.event)
        if (message.reply === undefined) return
        this.#replies.get(message.reply)?.(message.state)
        this.#replies.delete(message.reply)
      })
    })
    this.#ready.catch(() => {})
  }

  async isReady() {
    await this.#ready
  }

  /** @param {object} message */
  tell(message) {
    this.#child.send(message)
  }

  /** @returns {Promise<any>} what the process knows now */
  async ask(message = {}) {
    const ask = ++this.#asked
    this.#child.send({ ...message, ask })
    return await new Promise((resolve) => this.#replies.set(ask, resolve))
  }

  async kill() {
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}
