/** The first line of each request, before Node's parser gets it. */
import type { Buffer } from 'node:buffer'

const LF = 10
/** As much as Node's parser takes of a head, and then refuses it (`--max-http-header-size`). */
const MAX_LENGTH = 16 * 1024
/** RFC 9112, section 3. What stands for method and target is for Node's parser to judge. */
const REQUEST_LINE = /^[!-~]+ [!-\xff]+ HTTP\/1\.[01]\r\n$/
/** May come before it (section 2.2). */
const EMPTY_LINE = '\r\n'

/**
 * Node's parser takes for a first line what a proxy in front of this server may read in another way, and
 * tells nobody of it: lines without a version (HTTP/0.9), of another protocol (`GET / RTSP/1.1`) or of
 * HTTP/2.0, with several blanks in place of one, behind a CR or a LF alone.
 */
export class RequestLine {
  /** What has come of it, where that is not the whole. */
  #begun = ''
  #isOver = false

  /** The next request's line comes. */
  expect(): void {
    this.#begun = ''
    this.#isOver = false
  }

  /** Looks at the next bytes of a head. False when they end a line that is none. */
  accepts(bytes: Buffer): boolean {
    let start = 0
    while (!this.#isOver) {
      const end = bytes.indexOf(LF, start) + 1
      this.#begun += bytes.toString('latin1', start, end === 0 ? bytes.length : end)
      if (end === 0) {
        this.#isOver = this.#begun.length > MAX_LENGTH
        return true
      }
      this.#isOver = this.#begun !== EMPTY_LINE
      if (this.#isOver && !REQUEST_LINE.test(this.#begun)) return false
      this.#begun = ''
      start = end
    }
    return true
  }
}
