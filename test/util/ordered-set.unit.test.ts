/** What is there, in its order. */
import { describe, expect, test } from 'vitest'
import { kIndex, OrderedSet } from '../../src/util/ordered-set.js'

class Named {
  [kIndex] = 0
  readonly name: number
  constructor(name: number) {
    this.name = name
  }
}

function filled(count: number): { members: OrderedSet<Named>; all: Named[] } {
  const members = new OrderedSet<Named>()
  const all = Array.from({ length: count }, (_, name) => new Named(name))
  for (const member of all) members.add(member)
  return { members, all }
}

const names = (members: Iterable<Named>) => [...members].map(({ name }) => name)

describe('members', () => {
  test('are in the order of their coming, however many have gone', () => {
    const { members, all } = filled(1000)
    for (const member of all) if (member.name % 7 !== 0) members.delete(member)
    const rest = all.filter(({ name }) => name % 7 === 0).map(({ name }) => name)
    expect(names(members)).toEqual(rest)
    expect(members.size).toBe(rest.length)
    members.add(new Named(5000))
    expect(names(members)).toEqual([...rest, 5000])
  })

  test('that come are visited too, and those that have gone are not', () => {
    const { members, all } = filled(500)
    const visited: number[] = []
    for (const { name } of members) {
      visited.push(name)
      if (name === 0) for (const member of all.slice(1, 490)) members.delete(member)
      if (name === 490) members.add(new Named(1000))
      if (name === 1000) members.delete(all[0] as Named)
    }
    expect(visited).toEqual([0, 490, 491, 492, 493, 494, 495, 496, 497, 498, 499, 1000])
  })

  test('may all go while they are visited', () => {
    const { members } = filled(300)
    for (const member of members) members.delete(member)
    expect(members.size).toBe(0)
    expect(names(members)).toEqual([])
  })

  test('are walked on with by an iterator whose loop was left, to the end and no further', () => {
    const { members } = filled(3)
    const iterator = members[Symbol.iterator]()
    for (const { name } of iterator) if (name === 0) break
    expect(names(iterator)).toEqual([1, 2])
    members.add(new Named(3))
    expect(names(iterator)).toEqual([])
  })

  test('go once, and strangers do not go at all', () => {
    const { members, all } = filled(3)
    members.delete(all[1] as Named)
    members.delete(all[1] as Named)
    members.delete(new Named(9))
    expect(members.size).toBe(2)
    expect(names(members)).toEqual([0, 2])
  })
})
