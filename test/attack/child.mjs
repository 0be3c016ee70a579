// A process of its own for each side, so that none of them takes the others' time.
import { fork } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Milliseconds for an answer: what the program is at ends before that. */
const PATIENCE = 90_000

/** A program of this folder, which answers commands. */
export class Child {
  #process
  #file
  #next = 1
  /** @type {Map<number, { resolve: (answer: any) => void, reject: (error: Error) => void }>} */
  #asked = new Map()
  /** @type {Promise<string>} how it has ended */
  ended
  #hasEnded = false

  /**
   * @param {string} file
   * @param {string[]} args
   * @param {NodeJS.ProcessEnv} env
   * @param {string} log
   */
  constructor(file, args, env, log) {
    const script = fileURLToPath(new URL(file, import.meta.url))
    this.#process = fork(script, args, { env, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
    this.#file = file
    this.log = log
    this.#process.stderr?.pipe(createWriteStream(log))
    this.ended = new Promise((resolve) => {
      this.#process.once('close', (code, signal) => {
        this.#hasEnded = true
        const ending = signal ?? `exit code ${code}`
        for (const { reject } of this.#asked.values()) reject(new Error(`${file} has ended: ${ending}`))
        this.#asked.clear()
        resolve(ending)
      })
    })
    this.#process.on('message', (/** @type {any} */ { id, answer }) => {
      this.#asked.get(id)?.resolve(answer)
      this.#asked.delete(id)
    })
    /** @type {Promise<any>} */
    this.ready = this.#answer(0)
    this.ready.catch(() => {})
  }

  get pid() {
    return this.#process.pid
  }

  get hasEnded() {
    return this.#hasEnded
  }

  /** @param {number} id */
  #answer(id) {
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }))
  }

  /**
   * @param {string} command
   * @param {object} [details]
   * @returns {Promise<any>} rejects when there is no answer in time, or never can be
   */
  async ask(command, details = {}) {
    if (this.#hasEnded) throw new Error(`${this.#file} has ended`)
    const id = this.#next++
    const answer = this.#answer(id)
    this.#process.send({ id, command, ...details }, () => {})
    const timer = setTimeout(() => {
      this.#asked.get(id)?.reject(new Error(`${this.#file} has not answered "${command}" within ${PATIENCE / 1000} s`))
    }, PATIENCE)
    try {
      return await answer
    } finally {
      clearTimeout(timer)
    }
  }

  kill() {
    this.#process.kill('SIGKILL')
  }
}
