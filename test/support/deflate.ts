/** permessage-deflate by hand (RFC 7692): what a peer does that remembers nothing, and one that does. */
import {
  constants,
  createDeflateRaw,
  createInflateRaw,
  deflateRawSync,
  inflateRawSync,
  type Zlib,
  type ZlibOptions,
} from 'node:zlib'
import { onTestFinished } from 'vitest'
import { type FrameToSend, frame, OPCODE, type ReceivedFrame } from './raw-client.js'

/** What is left out at the end of a message (section 7.2.1). */
export const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff])

/** RSV1, as `FrameToSend.reserved` and `ReceivedFrame.reserved` have it. */
export const RSV1 = 4

/** One message, compressed without memory of earlier ones. */
export function deflateMessage(data: string | Uint8Array, options: ZlibOptions = {}): Buffer {
  return deflateRawSync(data, { ...options, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -TAIL.length)
}

/** The content of one message that needs no memory of earlier ones. */
export function inflateMessage(data: Uint8Array, options: ZlibOptions = {}): Buffer {
  return inflateRawSync(Buffer.concat([data, TAIL]), { ...options, finishFlush: constants.Z_SYNC_FLUSH })
}

/** A frame that holds a whole compressed message. */
export function compressedText(data: string | Uint8Array, more: Partial<FrameToSend> = {}): Buffer {
  return frame({ opcode: OPCODE.TEXT, payload: deflateMessage(data), reserved: RSV1, ...more })
}

/** The text in a frame, compressed or not. */
export function textOf({ payload, reserved }: ReceivedFrame): string {
  return (reserved === RSV1 ? inflateMessage(payload) : payload).toString()
}

/** A compressor or decompressor that remembers earlier messages. It is closed when its test ends. */
class Memory<T extends Zlib & NodeJS.ReadWriteStream & { flush(kind: number, callback: () => void): void; close(): void }> {
  readonly #stream: T
  #chunks: Buffer[] = []

  constructor(stream: T) {
    this.#stream = stream
    stream.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
    onTestFinished(() => stream.close())
  }

  async through(...pieces: Uint8Array[]): Promise<Buffer> {
    for (const piece of pieces) this.#stream.write(piece)
    await new Promise<void>((resolve) => this.#stream.flush(constants.Z_SYNC_FLUSH, resolve))
    const all = Buffer.concat(this.#chunks)
    this.#chunks = []
    return all
  }
}

export function deflaterWithMemory(options: ZlibOptions = {}): (data: string | Uint8Array) => Promise<Buffer> {
  const memory = new Memory(createDeflateRaw(options))
  return async (data) => (await memory.through(Buffer.from(data))).subarray(0, -TAIL.length)
}

export function inflaterWithMemory(options: ZlibOptions = {}): (data: Uint8Array) => Promise<Buffer> {
  const memory = new Memory(createInflateRaw(options))
  return (data) => memory.through(data, TAIL)
}
