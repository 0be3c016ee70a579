/**
 * What passes in batches between JavaScript and C++: events in the inbox, commands in the outbox
 * (`channel-layout.ts`).
 *
 * Long because a reader of the inbox and a writer of the outbox would share more than they divide. A Ping
 * that is read becomes a Pong that is written, and both use the quotas, the control words, the connections
 * and the addon. What both call is split off: layout (`channel-layout.ts`) and bytes (`channel-memory.ts`).
 */
import { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import process from 'node:process'
import { byteLengthOf } from '../../util/bytes.js'
import type { ConnectionEvents, ConnectionId, ExchangeId, Payload, ServerEvents } from '../contract.js'
import { BACKPRESSURE, DrainOwed, hasRoom, NOT_TAKEN, takenStatus } from '../send-quota.js'
import {
  ANSWERS_ENGINE,
  CLEAN,
  CLOSING,
  COMPRESS_SHIFT,
  Command,
  type Compress,
  Control,
  compressChoice,
  Event,
  HEADER_WORDS,
  INBOX_SIZE,
  KIND_BITS,
  KIND_MASK,
  LENT_SIZE,
  MAX_COPIED_MESSAGE,
  MAX_CORKED_MESSAGE,
  OUTBOX_SIZE,
  QUOTA_SHIFT,
  QUOTAS_SIZE,
  REPORT_SENT,
  SendQuota,
  SLOT_MASK,
} from './channel-layout.js'
import {
  at,
  fixedMemory,
  memoryOf,
  newMemory,
  readBytes,
  readText,
  sizeOf,
  wordsOf,
  writeBytes,
  writeText,
} from './channel-memory.js'
import { requestHeadOf } from './request.js'
import { TurnBuffers } from './turn-buffers.js'

/**
 * Whether Node runs libuv's loop to its end. Electron and NW.js run it in steps that must not wait.
 */
const nodeRunsTheLoop = process.versions.electron === undefined && process.versions.nw === undefined

/** Set to 1, it makes lent messages unreadable when their handlers have returned: a mistake shows at once. */
const OVERWRITE_LENT = 'NATIVE_WEBSOCKET_SERVER_OVERWRITE_LENT'
/** What they are overwritten with; no text in UTF-8 has it, and as a length it is too long. */
const OVERWRITTEN = 0xff

/** What the addon offers to this file. */
export interface ChannelAddon {
  attach(shared: {
    quotas: ArrayBuffer
    control: ArrayBuffer
    inbox: ArrayBuffer
    outbox: ArrayBuffer
    attachments: unknown[]
    deliver: () => void
    /** Whether the thread may wait in the epoll set of its sockets. */
    waitsInSocketSet: boolean
  }): void
  lendFrom(memory: ArrayBuffer): void
  /** An older addon, which the variable may name, does not have this. */
  detach?(buffers: readonly ArrayBuffer[]): void
  drain(): void
  send(id: ConnectionId, data: Payload, compress: Compress, isText: boolean, reportSent: boolean): void
}

/** A server, as its own records (as opposed to a connection's) find it. */
export interface ServerRecords {
  readonly events: ServerEvents
  /** The requests that came with adopted connections, until they are reported. */
  readonly adopted: Map<ExchangeId, IncomingMessage>
  /** The last record after `dispose`. */
  closed(): void
}

/**
 * The channel of one thread: all its servers share it, so that one call delivers everything and the order
 * is kept. A connection's events go straight to its ConnectionEvents.
 */
export class SharedChannel {
  readonly #addon: ChannelAddon
  readonly #servers: ReadonlyMap<number, ServerRecords>
  readonly #control = new Uint32Array(Control.words)
  readonly #quotas = new Uint32Array(QUOTAS_SIZE / 4)
  /** By slot. A connection is here from `open` until its `onClose`. */
  readonly #connections: (ConnectionEvents | undefined)[] = []
  readonly #attachments: unknown[] = []
  /** Bytes; more than MAX_COPIED_MESSAGE while a callback is corked. */
  #longestCopied = 0

  // C++ writes and reads these two buffers for as long as the thread lives. They must not be detached, so no
  // handler ever gets one of them.
  readonly #inbox = newMemory(INBOX_SIZE)
  readonly #inboxWords = wordsOf(this.#inbox)
  readonly #outbox = newMemory(OUTBOX_SIZE)
  /** Where C++ puts messages that are lent; undefined until a route lends. */
  #lent: Buffer | undefined
  readonly #overwritesLent = process.env[OVERWRITE_LENT] === '1'
  readonly #turnBuffers: TurnBuffers
  readonly #outboxWords = wordsOf(this.#outbox)

  constructor(addon: ChannelAddon, servers: ReadonlyMap<number, ServerRecords>) {
    this.#addon = addon
    this.#servers = servers
    this.#turnBuffers = new TurnBuffers((buffers) => addon.detach?.(buffers))
    addon.attach({
      quotas: this.#quotas.buffer,
      control: this.#control.buffer,
      inbox: memoryOf(this.#inbox),
      outbox: memoryOf(this.#outbox),
      attachments: this.#attachments,
      deliver: () => this.#deliver(),
      waitsInSocketSet: nodeRunsTheLoop,
    })
  }

  /**
   * A route is about to lend messages. Does nothing where there is no memory for it: messages are then their
   * handlers' own.
   */
  prepareLending(): void {
    if (this.#lent !== undefined) return
    this.#lent = fixedMemory(LENT_SIZE)
    if (this.#lent !== undefined) this.#addon.lendFrom(memoryOf(this.#lent))
  }

  /** From now on the connection's events go to `events`. */
  open(id: ConnectionId, events: ConnectionEvents): void {
    this.#connections[id & SLOT_MASK] = events
  }

  isOpen(id: ConnectionId): boolean {
    return id !== 0 && this.#quotas[((id & SLOT_MASK) << QUOTA_SHIFT) + SendQuota.id] === id
  }

  /** Also of a connection that is closing. */
  bufferedAmount(id: ConnectionId): number {
    const quota = (id & SLOT_MASK) << QUOTA_SHIFT
    if (!this.#hasQuota(id)) return 0
    return at(this.#quotas, quota + SendQuota.buffered) + at(this.#quotas, quota + SendQuota.pending)
  }

  /** As EngineConnections.setBufferedAmountLowThreshold. */
  setBufferedAmountLowThreshold(id: ConnectionId, threshold: number): boolean {
    const quotas = this.#quotas
    const quota = (id & SLOT_MASK) << QUOTA_SHIFT
    // C++ can tell only of bytes in its hands when they have left.
    if (quotas[quota + SendQuota.pending] !== 0) this.#addon.drain()
    if (quotas[quota + SendQuota.id] !== id || at(quotas, quota + SendQuota.buffered) <= threshold) return false
    quotas[quota + SendQuota.lowThreshold] = threshold + 1
    return true
  }

  /**
   * As EngineConnections.cork. Short messages of one turn leave together in any case; inside of `cork`,
   * longer messages do too.
   */
  cork<R>(_id: ConnectionId, callback: () => R): R {
    const before = this.#longestCopied
    this.#longestCopied = MAX_CORKED_MESSAGE
    try {
      return callback()
    } finally {
      this.#longestCopied = before
    }
  }

  /** As EngineConnections.send. */
  send(id: ConnectionId, data: Payload, compress: boolean | undefined, isText = false): number {
    const choice = compressChoice(compress)
    const size = sizeOf(data)
    if (size > MAX_COPIED_MESSAGE) return this.#sendNow(id, data, choice, isText, 0)
    return this.#put(id, messageCommand(data, choice, isText), data, size)
  }

  /** As EngineConnections.sendReported. */
  sendReported(id: ConnectionId, data: Payload, compress: boolean | undefined, isText = false): number {
    const choice = compressChoice(compress)
    const size = sizeOf(data)
    if (size > MAX_COPIED_MESSAGE) return this.#sendNow(id, data, choice, isText, REPORT_SENT)
    return this.#put(id, messageCommand(data, choice, isText) | REPORT_SENT, data, size)
  }

  /** As EngineConnections.ping. */
  ping(id: ConnectionId, data: Payload): number {
    return this.#put(id, Command.sendPing, data, sizeOf(data))
  }

  /** As EngineConnections.pong. */
  pong(id: ConnectionId, data: Payload): number {
    return this.#put(id, Command.sendPong, data, sizeOf(data))
  }

  close(id: ConnectionId, code: number, reason: string): void {
    if (!this.isOpen(id)) return
    this.#put(id, Command.beginClose | (code << 16), reason, reason.length)
    this.#stopSending(id)
  }

  /** Also after `close`, whose handshake it cuts short. */
  terminate(id: ConnectionId): void {
    if (!this.#hasQuota(id)) return
    const end = this.#reserve(0)
    this.#outboxWords[end] = id
    this.#outboxWords[end + 1] = Command.terminate
    this.#outboxWords[end + 2] = 0
    this.#control[Control.outboxEnd] = end + HEADER_WORDS
    this.#stopSending(id)
  }

  /** Whether the connection has not ended; one that is closing has not. */
  #hasQuota(id: ConnectionId): boolean {
    return id !== 0 && (at(this.#quotas, ((id & SLOT_MASK) << QUOTA_SHIFT) + SendQuota.id) & ~CLOSING) === id
  }

  #stopSending(id: ConnectionId): void {
    // Carrying out the outbox may have ended the connection.
    if (this.#hasQuota(id)) this.#quotas[((id & SLOT_MASK) << QUOTA_SHIFT) + SendQuota.id] = id | CLOSING
  }

  /**
   * A Pong counts as queued, but has no status to return. A client that reads nothing gets no Pong: RFC 6455,
   * section 5.5.3, allows that.
   */
  #answerPing(id: ConnectionId, data: Buffer): void {
    const quotas = this.#quotas
    const quota = (id & SLOT_MASK) << QUOTA_SHIFT
    if (quotas[quota + SendQuota.id] === id && this.#hasRoom(quota, data.length))
      this.#put(id, Command.answerPing, data, data.length)
  }

  /**
   * Where a record with `length` payload bytes goes in the outbox. C++ carries out the outbox first when the
   * outbox is full.
   */
  #reserve(length: number): number {
    const end = at(this.#control, Control.outboxEnd)
    if ((end + HEADER_WORDS) * 4 + length <= OUTBOX_SIZE) return end
    this.#addon.drain()
    return 0
  }

  /**
   * Writes one command with a payload of at most MAX_COPIED_MESSAGE. The kinds to `sendPong` are subject to
   * the limit; the result is the status that `send` returns. `size` is what `sizeOf` says, which callers
   * know.
   */
  #put(id: ConnectionId, kind: number, data: Payload, size: number): number {
    const quotas = this.#quotas
    const quota = (id & SLOT_MASK) << QUOTA_SHIFT
    if (quotas[quota + SendQuota.id] !== id) return NOT_TAKEN
    // UTF-8 takes at most three bytes for each UTF-16 unit.
    const end = this.#reserve(typeof data === 'string' ? size * 3 : size)
    const start = (end + HEADER_WORDS) * 4
    const length = typeof data === 'string' ? writeText(this.#outbox, start, data) : writeBytes(this.#outbox, start, data, size)
    if ((kind & KIND_MASK) <= Command.sendPong && !this.#hasRoom(quota, length)) {
      // To carry out the pending commands may give room; the record, which was not committed, is then written
      // again.
      if (quotas[quota + SendQuota.pending] === 0) return this.#refuse(quota)
      this.#addon.drain()
      if (quotas[quota + SendQuota.id] !== id) return NOT_TAKEN
      return this.#hasRoom(quota, length) ? this.#put(id, kind, data, size) : this.#refuse(quota)
    }
    const words = this.#outboxWords
    words[end] = id
    words[end + 1] = kind
    words[end + 2] = length
    this.#control[Control.outboxEnd] = end + HEADER_WORDS + ((length + 3) >>> 2)
    quotas[quota + SendQuota.pending] = at(quotas, quota + SendQuota.pending) + length
    return (kind & KIND_MASK) > Command.sendPong
      ? takenStatus(length, false)
      : this.#taken(quota, length, quotas[quota + SendQuota.buffered] !== 0)
  }

  /** A long message: C++ takes it from the caller's memory, after what is pending. */
  #sendNow(id: ConnectionId, data: Payload, choice: Compress, isText: boolean, report: 0 | typeof REPORT_SENT): number {
    const quotas = this.#quotas
    const quota = (id & SLOT_MASK) << QUOTA_SHIFT
    if (quotas[quota + SendQuota.id] !== id) return NOT_TAKEN
    const length = typeof data === 'string' ? Buffer.byteLength(data) : byteLengthOf(data)
    if (length <= this.#longestCopied) return this.#put(id, messageCommand(data, choice, isText) | report, data, sizeOf(data))
    if (quotas[quota + SendQuota.pending] !== 0) {
      this.#addon.drain()
      if (quotas[quota + SendQuota.id] !== id) return NOT_TAKEN
    }
    if (!this.#hasRoom(quota, length)) return this.#refuse(quota)
    const earlierBytesWait = quotas[quota + SendQuota.buffered] !== 0
    this.#addon.send(id, data, choice, isText, report !== 0)
    return this.#taken(quota, length, earlierBytesWait)
  }

  #hasRoom(quota: number, length: number): boolean {
    const quotas = this.#quotas
    const waiting = at(quotas, quota + SendQuota.buffered) + at(quotas, quota + SendQuota.pending)
    return hasRoom(waiting, length, at(quotas, quota + SendQuota.limit))
  }

  /** Returns the status of a message that was taken: whether bytes in the hands of C++ waited before it. */
  #taken(quota: number, length: number, earlierBytesWait: boolean): number {
    const quotas = this.#quotas
    const status = takenStatus(length, earlierBytesWait)
    if (status === BACKPRESSURE) {
      quotas[quota + SendQuota.drainOwed] = at(quotas, quota + SendQuota.drainOwed) | DrainOwed.whenEmpty
    }
    return status
  }

  /** Returns the status. Bytes wait for the client, and the client's reading brings the drain. */
  #refuse(quota: number): number {
    const quotas = this.#quotas
    quotas[quota + SendQuota.drainOwed] = at(quotas, quota + SendQuota.drainOwed) | DrainOwed.whenRoom
    return NOT_TAKEN
  }

  /**
   * Reads the inbox to its end, which moves on while handlers call into C++. Each record counts as read
   * before its handler runs: should one throw, nothing but its own event is lost.
   */
  #deliver(): void {
    const control = this.#control
    const words = this.#inboxWords
    let record = at(control, Control.inboxRead)
    while (record !== control[Control.inboxEnd]) {
      const id = at(words, record)
      const kind = at(words, record + 1)
      const length = at(words, record + 2)
      const start = record + HEADER_WORDS
      const event = kind & KIND_MASK
      record = start + (event >= Event.textAttached && event < Event.request ? 0 : (length + 3) >>> 2)
      control[Control.inboxRead] = record
      this.#dispatch(id, kind, event, start * 4, length)
    }
    control[Control.inboxEnd] = 0
    control[Control.inboxRead] = 0
    if (!this.#turnBuffers.isEmpty) this.#turnBuffers.end()
  }

  #dispatch(id: number, kind: number, event: Event, start: number, length: number): void {
    if (event >= Event.bodyAttached) {
      this.#dispatchToServer(id, kind, event, start, length)
      return
    }
    const slot = id & SLOT_MASK
    const connection = this.#connections[slot]
    if (connection === undefined) return
    switch (event) {
      case Event.text:
        connection.onMessage(readText(this.#inbox, start, length), false)
        break
      case Event.binary:
        if (connection.detachesMessages) this.#lendDetaching(connection, this.#turnBuffers.copy(this.#inbox, start, length), true)
        else connection.onMessage(readBytes(this.#inbox, start, length), true)
        break
      case Event.textBytes:
        if (connection.detachesMessages)
          this.#lendDetaching(connection, this.#turnBuffers.copy(this.#inbox, start, length), false)
        else connection.onMessage(readBytes(this.#inbox, start, length), false)
        break
      case Event.textAttached:
        connection.onMessage(this.#takeAttachment(length), false)
        break
      case Event.textBytesAttached:
      case Event.binaryAttached: {
        // C++ attaches nothing but a Buffer to these kinds.
        const message = this.#takeAttachment(length) as Buffer
        if (connection.detachesMessages) {
          this.#turnBuffers.add(message)
          this.#lendDetaching(connection, message, event === Event.binaryAttached)
        } else connection.onMessage(message, event === Event.binaryAttached)
        break
      }
      case Event.binaryLent:
        this.#lend(connection, kind >>> KIND_BITS, length)
        break
      case Event.drain:
        connection.onDrain()
        break
      case Event.ping: {
        const data = readBytes(this.#inbox, start, length)
        if (connection.answersPings) this.#answerPing(id, data)
        connection.onPing(data)
        break
      }
      case Event.pong:
        connection.onPong(readBytes(this.#inbox, start, length), (kind & ANSWERS_ENGINE) !== 0)
        break
      case Event.sent:
        connection.onSent()
        break
      case Event.bufferedAmountLow:
        connection.onBufferedAmountLow()
        break
      case Event.fragmentDrain:
        connection.onFragmentDrain()
        break
      case Event.droppedText:
      case Event.droppedBinary: {
        // The record's kind says whether the attachment is a string or a Buffer. The attachment stays in the
        // list, since other connections' records may refer to the same one.
        const attachment = this.#attachments[length]
        // Not at once: a handler that publishes again would keep this loop running for ever.
        setImmediate(() => connection.onDropped(attachment as string | Buffer, event === Event.droppedBinary))
        break
      }
      case Event.close: {
        this.#connections[slot] = undefined
        connection.onClose(kind >>> 16, readText(this.#inbox, start, length), (kind & CLEAN) !== 0)
        break
      }
    }
  }

  #lend(connection: ConnectionEvents, start: number, length: number): void {
    // C++ lends from nothing but this memory.
    const message = (this.#lent as Buffer).subarray(start, start + length)
    connection.onMessage(message, true)
    if (this.#overwritesLent) message.fill(OVERWRITTEN)
  }

  #lendDetaching(connection: ConnectionEvents, message: Buffer, isBinary: boolean): void {
    connection.onMessage(message, isBinary)
    if (this.#overwritesLent) this.#turnBuffers.end()
  }

  #dispatchToServer(id: number, kind: number, event: Event, start: number, length: number): void {
    const server = this.#servers.get(kind >>> 8)
    if (server === undefined) return
    const { events, adopted } = server
    if (event === Event.request) {
      const head = requestHeadOf(this.#inbox.toString('latin1', start, start + length))
      const incoming = adopted.get(id)
      if (incoming !== undefined) adopted.delete(id)
      events.request(id, incoming === undefined ? head : { ...head, incoming })
    } else if (event === Event.body || event === Event.bodyEnd) {
      events.body(id, readBytes(this.#inbox, start, length), event === Event.bodyEnd)
    } else if (event === Event.bodyAttached) {
      // C++ attaches nothing but a Buffer to this kind.
      events.body(id, this.#takeAttachment(length) as Buffer, false)
    } else if (event === Event.writable) events.writable(id)
    else if (event === Event.abort) events.aborted(id)
    else if (event === Event.descriptorsExhausted) events.descriptorsExhausted()
    else server.closed()
  }

  #takeAttachment(index: number): string | Buffer {
    const attachment = this.#attachments[index]
    this.#attachments[index] = undefined
    // The record's kind says whether the attachment is a string or a Buffer.
    return attachment as string | Buffer
  }
}

function messageCommand(data: Payload, choice: Compress, isText: boolean): number {
  return (isText || typeof data === 'string' ? Command.sendText : Command.sendBinary) | (choice << COMPRESS_SHIFT)
}
