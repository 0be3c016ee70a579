/** Work that must not take longer than it may. */

/**
 * Rejects when the work takes longer, with `otherwise` as the message. After a turn that has blocked the loop
 * for so long, timers run before what has come meanwhile is read: so it is read first. When `signal` is
 * aborted, it rejects at once.
 */
export async function inTime<T>(work: Promise<T>, milliseconds: number, otherwise: string, signal?: AbortSignal): Promise<T> {
  const { promise: late, reject } = withResolvers()
  const isLate = () => reject(new Error(otherwise))
  const isAborted = () => reject(new Error('the server was closed'))
  // The first is behind the sockets that can be read now, the second behind what reading them has begun.
  const timer = setTimeout(() => setImmediate(() => setImmediate(isLate)), milliseconds)
  if (signal?.aborted) isAborted()
  signal?.addEventListener('abort', isAborted)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', isAborted)
  }
}

function withResolvers(): { promise: Promise<never>; reject: (cause: Error) => void } {
  let reject: (cause: Error) => void = () => {}
  const promise = new Promise<never>((_, fail) => {
    reject = fail
  })
  return { promise, reject }
}
