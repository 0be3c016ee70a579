/** The way of what is nobody's to catch. */
import process from 'node:process'

/** From a stack of its own, so that nobody catches it by chance. */
export function throwUncaught(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
