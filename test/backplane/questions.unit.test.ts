/** Who the members of a group are, as they tell each other. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { Questions } from '../../src/backplane/questions.js'

/** Members of one group, and how many messages they have sent. */
function groupOf(count: number) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const group = { members: new Map<string, Questions>(), sent: 0 }
  const join = (id: string) => {
    const send = (text: string) => {
      group.sent += 1
      for (const [other, member] of group.members) if (other !== id) member.heard(id, text)
    }
    const member = new Questions({ id, send, answer: () => 0, askedForNumbers: () => {} })
    onTestFinished(() => member.close())
    group.members.set(id, member)
    return member
  }
  for (let n = 0; n < count; n++) join(`member ${n}`)
  return { group, join }
}

test('members that start at once know each other soon, with few messages of each', () => {
  const { group } = groupOf(100)
  for (const member of group.members.values()) {
    member.start()
    vi.advanceTimersByTime(2)
  }
  vi.advanceTimersByTime(1000)
  for (const member of group.members.values()) expect(member.members).toBe(100)
  expect(group.sent).toBeLessThanOrEqual(400)
})

test('a member that joins a quiet group knows all others at once, each of which says hello once', () => {
  const { group, join } = groupOf(20)
  for (const member of group.members.values()) member.start()
  vi.advanceTimersByTime(4000)
  const before = group.sent
  const late = join('late')
  late.start()
  vi.advanceTimersByTime(1)
  expect(late.members).toBe(21)
  expect(group.sent - before).toBe(21)
})
