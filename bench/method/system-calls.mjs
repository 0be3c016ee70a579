/** Counts the system calls that a server makes for a message, by strace, where it may run. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'

/** Messages a second at most: strace makes each call so slow that a server could not keep up with more. */
export const MOST_COUNTED = 5000

/** Milliseconds. */
const COUNTED_TIME = 2000

/**
 * Calls that wait, read and write, and that set how long to wait. Others (futex, madvise …) are the runtime's
 * own, and not a message's.
 */
const COUNTED = /^(epoll_\w+|poll|ppoll|select|recv\w*|read|readv|send\w*|write|writev|timerfd_settime|io_uring_enter)$/

/** Whether they can be counted here. */
export function canCount() {
  return spawnSync('strace', ['-V'], { stdio: 'ignore' }).status === 0
}

/**
 * Of a process with so many messages a second. Rejects where strace may not look into it.
 * @param {number} pid @param {number} rate
 * @returns {Promise<number>} calls for a message
 */
export async function systemCallsPerMessage(pid, rate) {
  const folder = mkdtempSync(join(tmpdir(), 'calls-'))
  try {
    const file = join(folder, 'calls')
    const strace = spawn('strace', ['-f', '-c', '-o', file, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(strace, 'close')
    const [first] = await Promise.race([once(strace.stderr, 'data'), ended])
    if (!String(first).includes('attached')) throw new Error(`strace: ${String(first).trim()}`)
    const start = performance.now()
    await delay(COUNTED_TIME)
    strace.kill('SIGINT')
    const seconds = (performance.now() - start) / 1000
    await ended
    return callsIn(readFileSync(file, 'utf8')) / (rate * seconds)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** @param {string} summary of strace: a line for each call, with its number in the fourth column */
function callsIn(summary) {
  let calls = 0
  for (const line of summary.split('\n')) {
    const columns = line.trim().split(/\s+/)
    if (COUNTED.test(columns.at(-1) ?? '')) calls += Number(columns[3])
  }
  return calls
}
