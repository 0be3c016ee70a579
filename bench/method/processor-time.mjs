/** Processor time of processes and of their threads, from the kernel. */
import { readdirSync, readFileSync } from 'node:fs'

/** Of `stat`, where the kernel says no nanoseconds: Linux has 100 ticks in a second on every processor. */
const TICKS_PER_SECOND = 100

/**
 * Seconds, user and system. `process.cpuUsage` knows a whole process alone, and only its own.
 * @param {number | 'self'} pid @param {number} [thread] its id; all threads that run now without it
 * @returns {number}
 */
export function processorSeconds(pid, thread) {
  const folder = `/proc/${pid}/task`
  if (thread !== undefined) return ofThread(`${folder}/${thread}`)
  return readdirSync(folder).reduce((sum, each) => sum + ofThread(`${folder}/${each}`), 0)
}

/** @param {string} folder of the thread; one that has ended meanwhile counts nothing */
function ofThread(folder) {
  const nanoseconds = read(`${folder}/schedstat`)?.split(' ')[0]
  if (nanoseconds !== undefined) return Number(nanoseconds) / 1e9
  // User and system time are the 14th and 15th field; the second one, the name, may have spaces.
  const fields =
    read(`${folder}/stat`)
      ?.replace(/^.*\) /, '')
      .split(' ') ?? []
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
