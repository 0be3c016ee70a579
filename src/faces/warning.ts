/** What faces have not, and common programs ask for in any case: a process warning in place of an error. */
import process from 'node:process'

const warned = new Set<string>()

/** Once for each text. */
export function warn(text: string): void {
  if (warned.has(text)) return
  warned.add(text)
  process.emitWarning(text)
}
