/** The two ends of a connection, from the text that engines give (RequestHead.endpoints). */
import { Buffer } from 'node:buffer'

/** This end of a connection. */
export interface LocalEndpoint {
  /** Numeric; empty on a unix socket. */
  readonly address: string
  /** 0 on a unix socket. */
  readonly port: number
}

export interface Endpoints {
  readonly remotePort: number
  readonly local: LocalEndpoint
}

/**
 * The local endpoint that was found last. Nearly all connections of a server have the same one, and a single
 * object then serves all their sockets.
 */
let lastLocal: LocalEndpoint = { address: '', port: 0 }
/** The text of `lastLocal`. */
let lastText = ' 0'

export function endpointsOf(text: string): Endpoints {
  const remoteEnd = text.indexOf(' ')
  const localText = text.slice(remoteEnd + 1)
  if (localText !== lastText) {
    // Of memory of its own: a piece would keep the whole head of a request for as long as a socket lives.
    lastText = Buffer.from(localText, 'latin1').toString('latin1')
    const localEnd = lastText.indexOf(' ')
    lastLocal = { address: lastText.slice(0, localEnd), port: Number(lastText.slice(localEnd + 1)) }
  }
  return { remotePort: Number(text.slice(0, remoteEnd)), local: lastLocal }
}
