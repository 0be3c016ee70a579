/**
 * A new release of µWebSockets may change what our native code stands for: this says what to look at before
 * it is taken.
 */
import { describe, expect, test } from 'vitest'
import { contentOf, filesBelow } from '../support/source-tree.js'
import { currentHash, definitionIn, seams, upstreamIsHere } from '../support/upstream.js'

/** For µSockets' own sources: it renames functions of libuv, not of upstream. */
const NAMES_FOR_USOCKETS = 'native/server/uws/usockets_poll_names.h'

describe('the functions of upstream that native/upstream.json names', () => {
  test.skipIf(!upstreamIsHere).each(seams())('$begins of $file is what $seam knows', (seam) => {
    // A failure here is no fault: hold `relies` against the new text, mend the seam, then put the new hash
    // into native/upstream.json.
    expect({ relies: seam.relies, sha256: currentHash(seam) }).toEqual({ relies: seam.relies, sha256: seam.sha256 })
  })

  test('are known by files that exist', () => {
    const files = filesBelow('native', /\.(h|cpp)$/)
    for (const { seam } of seams()) expect(files).toContain(seam)
  })

  test('are those of every macro that takes the place of a function, and of every specialisation', () => {
    const named = seams().map(({ begins }) => begins)
    const files = filesBelow('native/server', /\.(h|cpp)$/).filter((file) => file !== NAMES_FOR_USOCKETS)
    const replaced = files.flatMap((file) => {
      const text = contentOf(file)
      const macros = [...text.matchAll(/^#define (\w+)/gm)].map(([, name]) => name)
      const specialised = [...text.matchAll(/^template <>\ninline [^\n]*?>::(\w+)\(/gm)].map(([, name]) => name)
      return [...macros, ...specialised]
    })
    expect(replaced.length).toBeGreaterThan(8)
    for (const name of new Set(replaced))
      expect(
        named.some((begins) => begins.includes(` ${name}(`) || begins.includes(`*${name}(`) || begins.includes(`(${name}(`)),
        name,
      ).toBe(true)
  })
})

describe('the door to µWebSockets', () => {
  const DOOR = 'native/server/uws/upstream.h'
  const namesOf = (directive: string, text: string) =>
    [...text.matchAll(new RegExp(`^#${directive} (\\w+)`, 'gm'))].map(([, name]) => name)

  test('defines every macro of ours, before µWebSockets’ headers, and undefines it behind them', () => {
    const [before = '', after = ''] = contentOf(DOOR).split('#include <App.h>')
    expect(namesOf('define', before).length).toBeGreaterThan(5)
    expect(namesOf('undef', after)).toEqual(namesOf('define', before))
    expect(namesOf('define', after)).toEqual([])
    const others = filesBelow('native/server', /\.(h|cpp)$/).filter((file) => file !== DOOR && file !== NAMES_FOR_USOCKETS)
    expect(others.filter((file) => namesOf('define', contentOf(file)).length > 0)).toEqual([])
  })

  test('leaves no function whose replacement our own code must call', () => {
    const ours = filesBelow('native/server', /\.(h|cpp)$/).filter((file) => !file.startsWith('native/server/uws/'))
    const passed = /\bus_socket_(timeout|write|context_on_\w+)\(/
    expect(ours.filter((file) => passed.test(contentOf(file)))).toEqual([])
  })

  test('has a file for each seam, which says why it is there and what to check at the next release', () => {
    const files = new Set(seams().map(({ seam }) => seam))
    for (const file of files)
      if (file.startsWith('native/server/uws/')) {
        expect(contentOf(file), file).toMatch(/^\/\/ At the next release:/m)
        expect(contentOf(file), file).toMatch(/^\/\/ Why:/m)
      }
  })
})

describe('the text of a definition', () => {
  const source = 'int other() { return 0; }\nint wanted(int a) {\n  if (a) { return 1; }\n  return 2;\n}\nint next() {}'

  test('ends with its own brace', () => {
    expect(definitionIn(source, 'int wanted(')).toBe('int wanted(int a) {\n  if (a) { return 1; }\n  return 2;\n}')
  })

  test('ends with its semicolon where it has no brace', () => {
    expect(definitionIn('static const int size = 1;\nint next() {}', 'static const int size')).toBe('static const int size = 1;')
  })

  test('is none where the definition is missing or has no end', () => {
    expect(definitionIn(source, 'int missing(')).toBeUndefined()
    expect(definitionIn('int open() { if (a) {}', 'int open(')).toBeUndefined()
  })
})
