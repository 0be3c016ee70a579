/** A clock that is turned by hand, with `vi.advanceTimersByTime` and its like. */
import { vi } from 'vitest'

/**
 * Sockets and the network go on as ever; what this process waits for by setTimeout waits for the hand, and
 * with `intervals` what it waits for by setInterval.
 */
export function takeTheClock({ intervals = false } = {}): void {
  const more = intervals ? (['setInterval', 'clearInterval'] as const) : []
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', ...more] })
}
