/**
 * curl against HTTP routes: uploads, downloads, and what it expects in between. Skipped where there is no
 * curl.
 */
import { spawn, spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { OTHER_PROGRAM } from '../support/child.js'
import { describeEngines, type ServeOptions, serve } from '../support/engines.js'
import { within } from '../support/waiting.js'

const hasCurl = spawnSync('curl', ['--version'], { env: OTHER_PROGRAM }).status === 0

/** What curl writes to its two outputs. */
async function curl(
  args: readonly string[],
  input: string | Uint8Array = '',
): Promise<{ out: Buffer; log: string; status: number }> {
  const child = spawn('curl', ['--silent', '--show-error', '--verbose', ...args], { env: OTHER_PROGRAM })
  const [out, log]: Buffer[][] = [[], []]
  child.stdout.on('data', (chunk: Buffer) => out?.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => log?.push(chunk))
  child.stdin.on('error', () => {}) // it does not read what it does not send
  child.stdin.end(input)
  const status = await within(new Promise<number>((resolve) => child.once('close', resolve)), 'curl to end')
  return { out: Buffer.concat(out ?? []), log: Buffer.concat(log ?? []).toString(), status }
}

describeEngines('curl', (engine) => {
  const start = (server: ServeOptions['server'] = {}) =>
    serve(
      engine,
      {},
      {
        path: '/socket',
        server,
        routes: (routes) =>
          routes
            .post('/echo', async (request) => new Response(await request.bytes()))
            .put('/pipe', ({ body }) => new Response(body))
            .put('/read', async (request) => new Response(await request.bytes()))
            .post('/refuse', () => new Response('not you\n', { status: 403 }))
            .get('/page', () => new Response('a page')),
      },
    )

  test.skipIf(!hasCurl)('uploads with Expect: 100-continue, in chunks, and from a pipe', async () => {
    const served = await start({ maxRequestBodySize: 2 ** 24 })
    const body = Buffer.alloc(3_000_000, 'abcdefg')
    const known = await curl(['--data-binary', '@-', served.httpUrl('/echo')], body)
    expect([known.out.equals(body), known.log.includes('100 Continue')]).toEqual([true, known.log.includes('Expect:')])
    const expecting = await curl(['--data-binary', '@-', '-H', 'Expect: 100-continue', served.httpUrl('/echo')], 'small')
    expect([expecting.out.toString(), expecting.log.includes('100 Continue')]).toEqual(['small', true])
    const chunked = await curl(['--upload-file', '-', served.httpUrl('/pipe')], body)
    expect(chunked.out.equals(body)).toBe(true)
  })

  test.skipIf(!hasCurl)('is told 413 and 403 without sending its body, and 413 in the middle of it', async () => {
    const served = await start({ maxRequestBodySize: 1000 })
    const body = Buffer.alloc(3_000_000)
    const refused = await curl(
      ['-w', '%{http_code} %{size_upload}', '--data-binary', '@-', '-H', 'Expect: 100-continue', served.httpUrl('/refuse')],
      'small',
    )
    expect(refused.out.toString()).toBe('not you\n403 0')
    const large = await curl(['-o', '/dev/null', '-w', '%{http_code}', '--data-binary', '@-', served.httpUrl('/echo')], body)
    expect(large.out.toString()).toBe('413')
    const chunked = await curl(['-o', '/dev/null', '-w', '%{http_code}', '--upload-file', '-', served.httpUrl('/read')], body)
    expect(chunked.out.toString()).toBe('413')
    // An answer that has begun can only be cut.
    const piped = await curl(['-o', '/dev/null', '--upload-file', '-', served.httpUrl('/pipe')], body)
    expect(piped.status).not.toBe(0)
  })

  test.skipIf(!hasCurl)('keeps its connection, with bodies in between', async () => {
    const served = await start()
    const pages = [served.httpUrl('/page'), served.httpUrl('/page')]
    const answer = await curl(['-w', ' %{num_connects}\n', ...pages])
    expect(answer.out.toString()).toBe('a page 1\na page 0\n')
    const posts = await curl([
      '-w',
      ' %{num_connects}\n',
      '-d',
      'x=1',
      served.httpUrl('/echo'),
      served.httpUrl('/refuse'),
      served.httpUrl('/echo'),
    ])
    expect(posts.out.toString()).toBe('x=1 1\nnot you\n 0\nx=1 0\n')
  })
})
