/** A clock that is turned by hand, with `vi.advanceTimersByTime` and its like. */
import { vi } from 'vitest'

/** Sockets and the network go on as ever; what this process waits for by setTimeout waits for the hand. */
export function takeTheClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
}
