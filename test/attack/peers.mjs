// The clients that witnesses speak with: those that most programs use.
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { Agent as HttpAgent, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { WebSocket } from 'ws'

/**
 * A WebSocket that is open. Its messages are taken one by one; its end, where it was not asked for, is an
 * error.
 */
export class Peer {
  #socket
  #received = []
  #takers = []
  #problem
  #isEnding = false

  static async open({ host, port, secure }, path, options = {}) {
    const peer = new Peer()
    const url = `${secure ? 'wss' : 'ws'}://${host}:${port}${path}`
    const socket = new WebSocket(url, { rejectUnauthorized: false, perMessageDeflate: false, ...options })
    peer.#socket = socket
    socket.on('message', (data, isBinary) => {
      const message = isBinary ? data : String(data)
      const taker = peer.#takers.shift()
      if (taker === undefined) peer.#received.push(message)
      else taker.resolve(message)
    })
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.on('error', reject)
    })
    socket.on('error', (error) => peer.#fail(error))
    socket.on('close', (code) => peer.#fail(new Error(`the connection has ended with ${code}`)))
    return peer
  }

  #fail(error) {
    this.#problem ??= error
    for (const taker of this.#takers.splice(0)) taker.reject(this.#problem)
  }

  send(data) {
    this.#socket.send(data)
  }

  next() {
    if (this.#received.length > 0) return Promise.resolve(this.#received.shift())
    if (this.#problem !== undefined) return Promise.reject(this.#problem)
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }))
  }

  /** Closes, and checks that the server has answered with the same code. */
  async close() {
    if (this.#isEnding) return
    this.#isEnding = true
    const closed = new Promise((resolve) => this.#socket.once('close', resolve))
    this.#socket.close(4000)
    const code = await closed
    if (code !== 4000) throw new Error(`Close was answered with ${code}`)
  }
}

/** An agent that keeps one connection, or none. */
export const agentOf = ({ secure }, keepAlive) =>
  secure ? new HttpsAgent({ keepAlive, maxSockets: 1, rejectUnauthorized: false }) : new HttpAgent({ keepAlive, maxSockets: 1 })

/**
 * Sends a request, and gives the whole response. `body` is bytes, or pieces of them; `onData` takes the body
 * as it comes.
 */
export function exchange({ host, port, secure }, { agent, method = 'GET', path, headers = {}, body, onData }) {
  return new Promise((resolve, reject) => {
    const request = (secure ? requestHttps : requestHttp)({ host, port, agent, method, path, headers })
    request.on('error', reject)
    request.on('response', (response) => {
      const received = []
      response.on('data', (data) => {
        try {
          if (onData === undefined) received.push(data)
          else onData(data)
        } catch (error) {
          reject(error)
          request.destroy()
        }
      })
      response.on('error', reject)
      response.on('aborted', () => reject(new Error('the answer has broken off')))
      response.on('end', () => {
        if (response.complete) resolve({ status: response.statusCode, body: Buffer.concat(received) })
        else reject(new Error('the answer is not whole'))
      })
    })
    const ended = new Promise((end) => request.once('close', end))
    const send = async () => {
      for (const piece of body ?? []) {
        if (!request.write(piece)) {
          await Promise.race([once(request, 'drain'), ended])
        }
      }
      request.end()
    }
    send().catch(reject)
  })
}

export function expect(isSo, problem) {
  if (!isSo) throw new Error(problem)
}
