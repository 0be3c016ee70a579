/** `decodeUtf8` makes what TextDecoder makes, by whichever way the bytes take. */
import { expect, test } from 'vitest'
import { decodeUtf8 } from '../../src/util/text.js'

const KINDS: readonly [name: string, text: string | Uint8Array][] = [
  ['nothing', ''],
  ['ASCII', 'plain'],
  ['Latin-1', 'é'],
  ['characters of two, three and four bytes', 'é漢😀x'],
  ['a byte order mark, and another in the text', '\ufeffé\ufeff'],
  ['half a character', Buffer.from('é').subarray(0, 1)],
  ['surrogates in UTF-8, and bytes that are none', Buffer.from('eda080c0affff5808080', 'hex')],
]

test.each(KINDS)('%s, alone and many times', (_name, text) => {
  for (const times of [1, 511, 512, 1024, 100_000]) {
    const bytes = Buffer.concat(Array.from({ length: times }, () => Buffer.from(text)))
    const data = Uint8Array.from(bytes).buffer
    // Not compared by `toBe`, which would print them.
    expect(decodeUtf8(data) === new TextDecoder().decode(data)).toBe(true)
  }
})
