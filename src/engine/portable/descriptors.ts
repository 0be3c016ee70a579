/** Whether the process can still open files and connections. */
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'

export function isShortage({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EMFILE' || code === 'ENFILE'
}

/**
 * Whether another descriptor can be had. Opening a file is the only test: when accept(2) fails for want of a
 * descriptor, libuv accepts with a spare one and closes the connection at once, which keeps the loop from
 * spinning, but raises no event.
 */
export function hasDescriptorLeft(): boolean {
  try {
    closeSync(openSync(devNull, 'r'))
    return true
  } catch (error) {
    // Anything that fs throws is an ErrnoException.
    return !isShortage(error as NodeJS.ErrnoException)
  }
}
