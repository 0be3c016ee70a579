/** What a process has to say when it fails. */

/**
 * In one line. @param {string} errors what it wrote to its error output
 * @param {{ readonly signalCode: string | null, readonly exitCode: number | null }} [ended] when it has
 */
export function complaintIn(errors, ended) {
  const end = ended ? `ended with ${ended.signalCode ?? `exit code ${ended.exitCode}`}` : ''
  const lines = errors.split('\n').filter((text) => /\w/.test(text))
  // Node prints the place of an uncaught error first.
  const line = lines.find((text) => /^\s*\w*Error\b/.test(text)) ?? lines[0] ?? ''
  return [end, line.trim()].filter(Boolean).join(': ')
}
