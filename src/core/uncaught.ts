/** Errors that no handler and no caller can be given: they become uncaught exceptions. */
import process from 'node:process'

/** Throws from a stack of its own, so that no `catch` around the caller takes the error. */
export function throwUncaught(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
