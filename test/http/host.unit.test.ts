/** Names of hosts to listen on, with a resolver that fails as it is told to. */
import { lookup } from 'node:dns/promises'
import { expect, test, vi } from 'vitest'
import { ListenError, WebSocketServer } from '../../src/index.js'

vi.mock('node:dns/promises')

test.each([
  ['ENOTFOUND', 'ENOTFOUND'],
  ['EAI_AGAIN', 'ERR_LISTEN'], // the resolver gave no answer, which says nothing about the name
  ['EAI_FAIL', 'ERR_LISTEN'],
  ['EMFILE', 'EMFILE'],
])('a lookup that ends with %s makes listen end with %s, and is its cause', async (systemCode, code) => {
  const cause = Object.assign(new Error(`getaddrinfo ${systemCode} somewhere`), { code: systemCode })
  vi.mocked(lookup).mockRejectedValueOnce(cause)
  const error = await new WebSocketServer({ engine: 'portable' }).listen({ host: 'somewhere' }).catch((reason) => reason)
  expect(error).toBeInstanceOf(ListenError)
  expect(error).toMatchObject({ code, host: 'somewhere', cause })
})
