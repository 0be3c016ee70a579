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
      for (const [other, member] of group.members) if (other !== id) member.heard(id, text, 0)
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

test('a hello that is replayed is no sign of life, and none that asks for a reply', () => {
  const { group, join } = groupOf(1)
  const [member] = [...group.members.values()]
  member?.start()
  vi.advanceTimersByTime(4000)
  const before = group.sent
  const hello = JSON.stringify({ say: 'hello', greetBack: true })
  // The first by an engine that knows it, the second by two clocks.
  for (const age of [Number.POSITIVE_INFINITY, 17_000]) expect(member?.heard('dead', hello, age)).toBe(true)
  expect(member?.members).toBe(1)
  vi.advanceTimersByTime(900)
  expect(group.sent).toBe(before)
  // One that was sent a while ago counts for as long as it would have then.
  member?.heard('alive', hello, 10_000)
  expect(member?.members).toBe(2)
  vi.advanceTimersByTime(7000)
  expect(member?.members).toBe(1)
  // And does not take back what came since.
  join('late').start()
  member?.heard('late', hello, 15_000)
  vi.advanceTimersByTime(2000)
  expect(member?.members).toBe(2)
})
