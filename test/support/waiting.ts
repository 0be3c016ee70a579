/**
 * Waiting for events. Nothing here sleeps: a test waits for what happens, and fails with a sentence when it
 * does not.
 */

/** Milliseconds after which an awaited event counts as missing. A test that passes never waits this long. */
export const PATIENCE = 10_000

/** The promise's value, or an error that says what was waited for. */
export async function within<T>(promise: Promise<T>, what: string, milliseconds = PATIENCE): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  // Made here, so that its stack leads to the test.
  const error = new Error(`waited ${milliseconds} ms in vain for ${what}`)
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(error), milliseconds)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A promise with its handles outside. */
export class Deferred<T = void> {
  readonly promise: Promise<T>
  resolve!: (value: T) => void
  reject!: (reason: unknown) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}

/** What happened, in order, to be taken one by one. */
export class Queue<T> {
  readonly #items: T[] = []
  readonly #takers: ((item: T) => void)[] = []

  push(item: T): void {
    const taker = this.#takers.shift()
    if (taker === undefined) this.#items.push(item)
    else taker(item)
  }

  /** The oldest item that was not taken yet; waits for one when there is none. */
  next(what: string, milliseconds = PATIENCE): Promise<T> {
    // Not empty, as was just seen.
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift() as T)
    return within(new Promise<T>((resolve) => this.#takers.push(resolve)), what, milliseconds)
  }

  /** The next `count` items. */
  async take(count: number, what: string, milliseconds = PATIENCE): Promise<T[]> {
    const items: T[] = []
    while (items.length < count) items.push(await this.next(`${what} (${items.length} of ${count} came)`, milliseconds))
    return items
  }

  /** Items that were pushed and not taken. */
  get size(): number {
    return this.#items.length
  }
}

/**
 * Resolves when the event loop has gone round `turns` times, so that whatever could have happened at once has
 * happened.
 */
export async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
