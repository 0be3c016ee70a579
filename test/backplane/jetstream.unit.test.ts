/** How a session on a stream begins, over a publisher in memory. */
import { expect, test } from 'vitest'
import { mayPublish } from '../../src/backplane/nats/jetstream.js'
import { NoStreamError, RefusedError } from '../../src/backplane/nats/stored-publisher.js'

/** What replies to one message after the other with these errors, and then stores. */
function publisher(...errors: Error[]) {
  let messages = 0
  const publish = async () => {
    const error = errors[messages++]
    if (error !== undefined) throw error
  }
  return { publish, messages: () => messages }
}

test('a stream that is not there for a moment, since it was just made, is asked again', async () => {
  const asked = publisher(new NoStreamError('none'), new NoStreamError('none'))
  await mayPublish(asked, 's')
  expect(asked.messages()).toBe(3)
})

test('a stream that refuses one message may be full, and a user without the right to publish is told at once', async () => {
  const full = publisher(new RefusedError('full', false))
  await mayPublish(full, 's')
  const forbidden = publisher(new RefusedError('no right', true))
  await expect(mayPublish(forbidden, 's')).rejects.toThrow('no right')
  expect([full.messages(), forbidden.messages()]).toEqual([1, 1])
})

test('a stream that never comes is told after a second', async () => {
  const never = { publish: () => Promise.reject(new NoStreamError('none')) }
  await expect(mayPublish(never, 's')).rejects.toThrow('none')
})
