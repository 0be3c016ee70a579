/**
 * File descriptors. Every connection takes one, and many systems allow a process 1,024 by default.
 *
 * The soft limit needs no raising here: Node itself raises it to the hard limit when it starts (Linux and
 * macOS), which `test/app/descriptors.test.ts` holds it to. What is left to do is to say so when the hard
 * limit is low as well.
 */
import { readdirSync } from 'node:fs'

/** With fewer descriptors than this left at start, `descriptorAdvice` speaks up. */
const COMFORTABLE = 10_000

/** The command that raises the limit, and what does the same for a service. */
const REMEDY = "raise it with 'ulimit -n 65536' (as root; under systemd: LimitNOFILE=65536)"

/** Printed when the descriptors have run out. */
export const DESCRIPTORS_EXHAUSTED = `The file descriptor limit is reached: no other client can connect until a connected one leaves; ${REMEDY}`

/**
 * How many descriptors the process may still open; `undefined` where there is no limit, or none that can be
 * known. To be called before connections exist: the report that it reads looks up a host name for each.
 */
export function remainingDescriptors(): number | undefined {
  // The soft limit is a number, the word "unlimited", or absent (Windows).
  const soft = at(at(at(process.report.getReport(), 'userLimits'), 'open_files'), 'soft')
  return typeof soft === 'number' ? Math.max(0, soft - openDescriptors()) : undefined
}

/** One line for the user when fewer than 10,000 descriptors remain, else `undefined`. */
export function descriptorAdvice(remaining: number | undefined): string | undefined {
  if (remaining === undefined || remaining >= COMFORTABLE) return undefined
  return `The file descriptor limit leaves room for about ${remaining.toLocaleString('en-US')} connections; ${REMEDY}`
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
}

function openDescriptors(): number {
  try {
    // Linux and macOS list a process's own descriptors here; one of them is the listing itself.
    return readdirSync('/dev/fd').length - 1
  } catch {
    return 0
  }
}
