/** Standard output, whose reader (a pager, `head`) may be slow, or gone. */

/**
 * Bytes that may wait for the reader before lines are left out: without a limit a stopped pager would fill
 * the memory.
 */
const MAX_UNREAD = 8 * 1024 * 1024

let leftOut = 0

/**
 * Prints one line. While 8 MiB wait for the reader, lines are left out; once there is room again, a line says
 * how many: `toLine` makes that line of its text.
 */
export function printLine(line: string, toLine = (text: string): string => text): void {
  if (process.stdout.writableLength > MAX_UNREAD) {
    leftOut++
    return
  }
  if (leftOut > 0) {
    process.stdout.write(`${toLine(`[!] ${leftOut.toLocaleString('en-US')} lines left out here: the reader was too slow`)}\n`)
  }
  leftOut = 0
  process.stdout.write(`${line}\n`)
}

/**
 * Resolves when everything printed has left the process. To be awaited before `process.exit`, which would
 * drop the rest.
 */
export function outputFlushed(): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write('', () => resolve())
  })
}
