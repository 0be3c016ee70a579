/** What handlers throw is an uncaught exception, as with uWebSockets.js, and reaches no other handler. */
import process from 'node:process'

/** Calls a handler. What it returns is not looked at: a promise that rejects is an unhandled rejection. */
export function callHandler<A extends readonly unknown[]>(handler: ((...given: A) => unknown) | undefined, ...given: A): void {
  try {
    handler?.(...given)
  } catch (error) {
    throwLater(error)
  }
}

export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
