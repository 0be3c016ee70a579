/**
 * Questions to every server behind the backplane, and who these servers are. All of it travels as the link's
 * own messages, in JSON, to all members.
 *
 * A member says hello when it starts and every few seconds, and bye when it closes. So a question knows how
 * many replies it may expect, and need not wait for its timeout.
 */
import type { EverywhereResult } from '../types/index.js'

/** Milliseconds between two hellos of a member. */
const HELLO_INTERVAL = 5000
/** Milliseconds after which a member that says nothing is taken for gone: three hellos were lost. */
const PEER_LIFETIME = 3 * HELLO_INTERVAL + 1000

/**
 * Milliseconds between a member's hello and its reply to a greeting, for each member that it knows, and the
 * most: all members together reply some 200 times a second, however many start at once. Each such message
 * goes to all: were each greeting replied to by itself, a broker that comes back would have to deliver the
 * third power of their number.
 */
const REPLY_INTERVAL = 5
const MOST_REPLY_INTERVAL = 1000

/** Milliseconds between two looks at the clock while replies are awaited, and the most that one counts. */
const STEP = 50
const MOST_STEP = 2 * STEP

/** What can be asked. */
export type Question =
  | { readonly ask: 'subscribers'; readonly topic: string }
  | {
      readonly ask: 'disconnect'
      readonly topic?: string
      readonly socketId?: string
      readonly code: number
      readonly reason: string
    }

type Message =
  | { readonly say: 'hello'; readonly greetBack: boolean }
  | { readonly say: 'bye' }
  | { readonly say: 'lost'; readonly within: number }
  | { readonly say: 'ask'; readonly number: number; readonly question: Question }
  | { readonly say: 'reply'; readonly to: string; readonly number: number; readonly count: number }

interface Asked {
  /** Peers that have not replied yet. */
  readonly waiting: Set<string>
  count: number
  answered: number
  finish(): void
}

export interface QuestionsOwner {
  /** The member's own id. */
  readonly id: string
  send(text: string): void
  /** This server's own reply: how many subscribers, or how many were disconnected. */
  answer(question: Question): number
  /** Another member may have lost what was sent within so many milliseconds. */
  askedForNumbers(within: number): void
}

export class Questions {
  readonly #owner: QuestionsOwner
  /** When each of the others was last heard. */
  readonly #peers = new Map<string, number>()
  readonly #asked = new Map<number, Asked>()
  #lastNumber = 0
  #timer: NodeJS.Timeout | undefined
  /** Until greetings are replied to, with one hello. */
  #replyTimer: NodeJS.Timeout | undefined
  /** When this member said hello last, by `performance.now()`. */
  #lastHello = Number.NEGATIVE_INFINITY

  constructor(owner: QuestionsOwner) {
    this.#owner = owner
  }

  /** Members that are known, this one included. */
  get members(): number {
    this.#forgetSilent()
    return this.#peers.size + 1
  }

  /** The link is up, or up again. */
  start(): void {
    this.#hello(true)
    this.#timer ??= setInterval(() => {
      this.#forgetSilent()
      this.#hello(false)
    }, HELLO_INTERVAL).unref()
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#replyTimer)
    if (this.#timer !== undefined) this.#say({ say: 'bye' })
    for (const asked of this.#asked.values()) asked.finish()
  }

  /** Asks all others for the numbers of the topics that they have used within so many milliseconds. */
  askForNumbers(within: number): void {
    this.#say({ say: 'lost', within })
  }

  /** Resolves when all have replied, or with what there is after `timeout` milliseconds. */
  ask(question: Question, timeout: number, isUp: boolean): Promise<EverywhereResult> {
    this.#forgetSilent()
    const begun = Date.now()
    const members = this.#peers.size + 1
    const own = this.#owner.answer(question)
    if (!isUp || members === 1) return Promise.resolve({ count: own, answered: 1, members, age: 0 })
    const number = ++this.#lastNumber
    return new Promise((resolve) => {
      const finish = () => {
        stop()
        this.#asked.delete(number)
        resolve({ count: asked.count, answered: asked.answered, members, age: Math.max(0, Date.now() - begun) })
      }
      const stop = afterReading(timeout, finish)
      const asked: Asked = { waiting: new Set(this.#peers.keys()), count: own, answered: 1, finish }
      this.#asked.set(number, asked)
      this.#say({ say: 'ask', number, question })
    })
  }

  /** A message of another member. False when it is none of ours. */
  heard(from: string, text: string): boolean {
    const message = parse(text)
    if (message === undefined) return false
    this.#peers.set(from, Date.now())
    switch (message.say) {
      case 'hello':
        if (message.greetBack) this.#helloSoon()
        break
      case 'bye':
        this.#peers.delete(from)
        for (const asked of this.#asked.values()) this.#settle(asked, from)
        break
      case 'lost':
        this.#owner.askedForNumbers(message.within)
        break
      case 'ask':
        return this.#reply(from, message.number, message.question)
      case 'reply':
        if (message.to === this.#owner.id) this.#replied(from, message.number, message.count)
    }
    return true
  }

  /** It replies to all greetings so far: who greets hears already. */
  #hello(greetBack: boolean): void {
    clearTimeout(this.#replyTimer)
    this.#replyTimer = undefined
    this.#lastHello = performance.now()
    this.#say({ say: 'hello', greetBack })
  }

  #helloSoon(): void {
    const interval = Math.min(REPLY_INTERVAL * (this.#peers.size + 1), MOST_REPLY_INTERVAL)
    const wait = Math.max(0, this.#lastHello + interval - performance.now())
    this.#replyTimer ??= setTimeout(() => this.#hello(false), wait).unref()
  }

  /** False for a question that is none, with a close code, for example, that does not exist. */
  #reply(to: string, number: number, question: Question): boolean {
    try {
      this.#say({ say: 'reply', to, number, count: this.#owner.answer(question) })
      return true
    } catch {
      return false
    }
  }

  #replied(from: string, number: number, count: number): void {
    const asked = this.#asked.get(number)
    if (asked === undefined || !asked.waiting.has(from)) return
    asked.count += count
    asked.answered += 1
    this.#settle(asked, from)
  }

  #settle(asked: Asked, from: string): void {
    asked.waiting.delete(from)
    if (asked.waiting.size === 0) asked.finish()
  }

  #forgetSilent(): void {
    const oldest = Date.now() - PEER_LIFETIME
    for (const [id, heard] of this.#peers) if (heard < oldest) this.#peers.delete(id)
  }

  #say(message: Message): void {
    this.#owner.send(JSON.stringify(message))
  }
}

/**
 * Calls `late` when so many milliseconds have passed in which this thread could read: of a turn that blocks
 * it longer, while replies wait unread, MOST_STEP counts. Returns what stops it.
 */
function afterReading(milliseconds: number, late: () => void): () => void {
  let left = milliseconds
  let last = performance.now()
  let timer: NodeJS.Timeout
  let isStopped = false
  const wait = () => {
    timer = setTimeout(look, Math.min(left, STEP))
  }
  const look = () => {
    const now = performance.now()
    left -= Math.min(now - last, MOST_STEP)
    last = now
    if (left > 0) wait()
    // Behind the sockets that can be read now, and behind what reading them has begun.
    else setImmediate(() => setImmediate(() => isStopped || late()))
  }
  wait()
  return () => {
    isStopped = true
    clearTimeout(timer)
  }
}

/** Undefined for what is none of our messages. */
function parse(text: string): Message | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { say, greetBack, number, question, within, to, count } = value as Record<string, unknown>
  if (say === 'hello') return { say, greetBack: greetBack === true }
  if (say === 'bye') return { say }
  if (say === 'lost') return isCount(within) ? { say, within } : undefined
  if (typeof number !== 'number') return undefined
  if (say === 'reply' && typeof to === 'string' && isCount(count)) return { say, to, number, count }
  const asked = say === 'ask' ? parseQuestion(question) : undefined
  return asked && { say: 'ask', number, question: asked }
}

function parseQuestion(value: unknown): Question | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { ask, topic, socketId, code, reason } = value as Record<string, unknown>
  if (ask === 'subscribers' && typeof topic === 'string') return { ask, topic }
  if (ask !== 'disconnect' || typeof code !== 'number' || typeof reason !== 'string') return undefined
  if (typeof topic === 'string') return { ask, topic, code, reason }
  return typeof socketId === 'string' ? { ask, socketId, code, reason } : undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
