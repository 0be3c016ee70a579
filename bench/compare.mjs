/** `node compare.mjs BEFORE.json AFTER.json`: what has changed between two runs. */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { toComparison } from './method/comparison.mjs'

const [before, after] = process.argv.slice(2)
if (!before || !after) {
  console.error('usage: node compare.mjs BEFORE.json AFTER.json')
  process.exitCode = 1
} else {
  console.log(toComparison(JSON.parse(readFileSync(before, 'utf8')), JSON.parse(readFileSync(after, 'utf8'))))
}
