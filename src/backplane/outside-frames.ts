/** What passes between the threads of a process on its way to the outside, and what comes back of it. */
import { Buffer } from 'node:buffer'
import { plainView } from '../util/bytes.js'
import type { BackplaneEnvelope } from './contract.js'

/** One envelope of one thread. */
export interface Frame {
  /** The id of the thread's member: ASCII. */
  readonly from: string
  /** One more than that of the frame before, of the same thread. */
  readonly number: number
  /** Whatever came before it is no longer awaited: it was sent to another gateway, or comes again. */
  readonly isFirst: boolean
  /** As soon as this one is done with, the thread wants to hear of it. */
  readonly isUrgent: boolean
  readonly envelope: BackplaneEnvelope
}

/** What the gateway says to a thread of its frames. */
export type Reply =
  /** All up to this number are done with. */
  | { readonly say: 'taken'; readonly number: number }
  /** Some have not come, or have to wait: all that are not done with are to come again. */
  | { readonly say: 'again' }
  /** So many messages of one frame were dropped. */
  | { readonly say: 'refused'; readonly number: number; readonly messages: number; readonly why: string }

const FLAG = { first: 1, urgent: 2 } as const
const AT = { flags: 0, from: 1, messages: 4, number: 8, sequence: 16, topic: 24 } as const
const HEAD_BYTES = 28

export function pack({ from, number, isFirst, isUrgent, envelope }: Frame): Uint8Array {
  const { topic, data, sequence, messages } = envelope
  const [fromLength, topicLength] = [from.length, Buffer.byteLength(topic)]
  const start = HEAD_BYTES + fromLength + topicLength
  const packed = Buffer.allocUnsafe(start + data.length)
  packed[AT.flags] = (isFirst ? FLAG.first : 0) | (isUrgent ? FLAG.urgent : 0)
  packed.writeUInt16BE(fromLength, AT.from)
  packed.writeUInt32BE(messages, AT.messages)
  packed.writeDoubleBE(number, AT.number)
  packed.writeDoubleBE(sequence, AT.sequence)
  packed.writeUInt32BE(topicLength, AT.topic)
  packed.write(from, HEAD_BYTES, 'latin1')
  packed.write(topic, HEAD_BYTES + fromLength)
  packed.set(data, start)
  return packed
}

export function unpack(packed: Buffer): Frame {
  const fromEnd = HEAD_BYTES + packed.readUInt16BE(AT.from)
  const start = fromEnd + packed.readUInt32BE(AT.topic)
  const flags = packed[AT.flags] ?? 0
  return {
    from: packed.toString('latin1', HEAD_BYTES, fromEnd),
    number: packed.readDoubleBE(AT.number),
    isFirst: (flags & FLAG.first) !== 0,
    isUrgent: (flags & FLAG.urgent) !== 0,
    envelope: {
      sequence: packed.readDoubleBE(AT.sequence),
      messages: packed.readUInt32BE(AT.messages),
      topic: packed.toString('utf8', fromEnd, start),
      // Memory of its own: the engine may keep it.
      data: plainView(packed.subarray(start)).slice(),
    },
  }
}
