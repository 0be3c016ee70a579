/** The first line of each request, before Node's parser gets it. */
import type { Buffer } from 'node:buffer'

const LF = 10
/** Node's parser refuses a longer head (`--max-http-header-size`). */
const MAX_LENGTH = 16 * 1024
/** RFC 9112, section 3. Node's parser judges method and target. */
const REQUEST_LINE = /^[!-~]+ [!-\xff]+ HTTP\/1\.[01]\r\n$/
/** May come before a request line (section 2.2). */
const EMPTY_LINE = '\r\n'

/**
 * Node's parser silently accepts first lines that a proxy in front of this server may read in another way:
 * lines without a version (HTTP/0.9), of another protocol (`GET / RTSP/1.1`) or of HTTP/2.0, with several
 * blanks in place of one, behind a CR or a LF alone. Such lines are refused here.
 */
export class RequestLine {
  /** The beginning of a line that has not come whole. */
  #begun = ''
  #isOver = false

  /** The next request's line comes. */
  expect(): void {
    this.#begun = ''
    this.#isOver = false
  }

  /** Looks at the next bytes of a head. False when they end a malformed request line. */
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
