/**
 * Attempts to connect that can be ended. The client has no way to do so, and keeps its socket until its
 * timeout; but Node tells of each socket that is made, and in which attempt.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/** Where Node tells of sockets that are about to connect. */
const CHANNEL = 'net.client.socket'

interface Attempt {
  readonly closing: AbortSignal
  readonly sockets: Set<Socket>
  isOver: boolean
}

const attempts = new AsyncLocalStorage<Attempt>()
/** Attempts that are under way. */
let count = 0

/** Calls `connect`, whose sockets are destroyed when `closing` is aborted before it has settled. */
export async function connectUnless<T>(closing: AbortSignal, connect: () => Promise<T>): Promise<T> {
  const attempt: Attempt = { closing, sockets: new Set(), isOver: false }
  const end = () => {
    for (const socket of attempt.sockets) socket.destroy()
  }
  closing.addEventListener('abort', end)
  if (count++ === 0) subscribe(CHANNEL, onSocket)
  try {
    return await attempts.run(attempt, connect)
  } finally {
    if (--count === 0) {
      unsubscribe(CHANNEL, onSocket)
      // As long as there is a store, every promise of the process costs more.
      attempts.disable()
    }
    closing.removeEventListener('abort', end)
    // What the client does from now on still counts as of the attempt.
    attempt.isOver = true
    attempt.sockets.clear()
  }
}

function onSocket(message: unknown): void {
  const attempt = attempts.getStore()
  if (attempt === undefined || attempt.isOver) return
  // As Node's documentation has it.
  const { socket } = message as { readonly socket: Socket }
  attempt.sockets.add(socket)
  // It begins to connect behind this call.
  if (attempt.closing.aborted) queueMicrotask(() => socket.destroy())
}
