/** The first line of a request of the portable engine is judged alike wherever its bytes are cut. */
import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { RequestLine } from '../../../src/engine/portable/request-line.js'

/** Whether the head is taken, when its bytes come in two pieces. */
function accepts(head: string, cut: number): boolean {
  const line = new RequestLine()
  const bytes = Buffer.from(head, 'latin1')
  return line.accepts(bytes.subarray(0, cut)) && line.accepts(bytes.subarray(cut))
}

const FIELDS = 'Host: a\r\n a line: of any kind\n\r\n'

describe('a first line, cut anywhere', () => {
  test.each([
    'GET / HTTP/1.1\r\n',
    'GET / HTTP/1.0\r\n',
    '\r\n\r\nGET / HTTP/1.1\r\n',
    'OPTIONS * HTTP/1.1\r\n',
    "!#$%&'*+-.^_`|~9 /\xe9 HTTP/1.1\r\n",
  ])('is taken: %j', (line) => {
    for (let cut = 0; cut <= line.length; cut++) expect(accepts(line + FIELDS, cut)).toBe(true)
  })

  test.each([
    'GET /\r\n',
    'GET / \r\n',
    'GET / HTTP/0.9\r\n',
    'GET / HTTP/2.0\r\n',
    'GET / HTTP/1.2\r\n',
    'GET / http/1.1\r\n',
    'GET / RTSP/1.1\r\n',
    'GET / HTTP/1.1\n',
    'GET / HTTP/1.1\r\r\n',
    'GET / HTTP/1.1 \r\n',
    'GET  / HTTP/1.1\r\n',
    'GET /  HTTP/1.1\r\n',
    'GET\t/ HTTP/1.1\r\n',
    ' GET / HTTP/1.1\r\n',
    '\nGET / HTTP/1.1\r\n',
    '\rGET / HTTP/1.1\r\n',
    '\r\n\nGET / HTTP/1.1\r\n',
  ])('is refused: %j', (line) => {
    for (let cut = 0; cut <= line.length; cut++) expect(accepts(line + FIELDS, cut)).toBe(false)
  })

  test('of the next request is judged when that is expected', () => {
    const line = new RequestLine()
    expect(line.accepts(Buffer.from(`GET / HTTP/1.1\r\n${FIELDS}`))).toBe(true)
    line.expect()
    expect(line.accepts(Buffer.from('GET /\r\n'))).toBe(false)
  })

  test('without an end is not kept', () => {
    const line = new RequestLine()
    for (let n = 0; n < 100; n++) expect(line.accepts(Buffer.alloc(1000, 'x'))).toBe(true)
    // It is for Node's parser, which has refused it by now.
    expect(line.accepts(Buffer.from('\n'))).toBe(true)
  })
})
