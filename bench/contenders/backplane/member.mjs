/**
 * What all members of a backplane share. A member is one process, `node NAME.mjs ROLE BROKER [WAY]`, started
 * by the bench with an IPC channel:
 *
 * - `publisher` has no clients. It publishes texts on one topic, as it is told.
 * - `receiver` has clients, which are subscribed to the topic as soon as they are connected.
 * - `bystander` is connected to the broker, and has no clients.
 *
 * It says `{ ready }` when it can be used, with the port of a receiver. A publisher is told `{ probe }` (send
 * a text that does not count), `{ run }` and `{ got }` (what the slowest client has), and says
 * `{ measuring }`, `{ measured }` and `{ done }`.
 */
import process from 'node:process'
import { FILLER, PROBE } from '../../method/backplane/message.mjs'
import { processorSeconds } from '../../method/processor-time.mjs'

export const [role = '', broker = '', way = ''] = process.argv.slice(2)
export const TOPIC = 'news'

/** Texts in one turn of the event loop, of runs as fast as it goes. */
const BATCH = 100
/**
 * Texts that the slowest client may be behind, of such runs. Without a bound, what is compared would be how
 * large the queues of the contenders can grow.
 */
const MOST_AHEAD = 10_000
/** Milliseconds for which is measured what publishing costs without a backplane. */
const ALONE_TIME = 100

// Without the bench, there is nothing to do.
process.on('disconnect', () => process.exit(0))

/** @param {object} [more] `port`, of a receiver; `threads`, of a process with several */
export function ready(more = {}) {
  process.send?.({ ready: more })
}

/**
 * Does what a publisher is told.
 * @param {(text: string) => void} publish
 * @param {(text: string) => void} [alone] the same, without a backplane
 * @param {() => number} [seconds] processor time of the publisher
 */
export function obey(publish, alone, seconds = () => processorSeconds('self')) {
  let number = 0
  let got = 0
  /** Goes on with a run that waits for its receivers. @type {(() => void) | undefined} */
  let goOn
  process.on('message', (/** @type {any} */ message) => {
    if (message.probe) publish(PROBE)
    else if (message.got !== undefined) {
      got = message.got
      const resume = goOn
      goOn = undefined
      resume?.()
    } else if (message.run) run(message.run)
  })

  /**
   * Publishes some in one turn, which share the time at which they were published.
   * @param {number} count @param {number} start the number of the first @param {(text: string) => void} send
   */
  function publishSome(count, start, send) {
    const head = `${String(process.hrtime.bigint() / 1000n).padStart(16, '0')} `
    for (let i = 0; i < count; i++) send(head + String(start + i).padStart(9, '0') + FILLER)
  }

  /** @param {(text: string) => void} send @returns {Promise<number>} µs of processor time for a text */
  async function costOf(send) {
    const end = performance.now() + ALONE_TIME
    const before = seconds()
    let count = 0
    for (; performance.now() < end; count += BATCH) {
      publishSome(BATCH, count, send)
      await new Promise(setImmediate)
    }
    return ((seconds() - before) / count) * 1e6
  }

  /** @param {{ rate?: number, warmUp: number, seconds: number }} settings `rate`: texts a second */
  function run({ rate, warmUp, seconds: length }) {
    const start = performance.now()
    const first = number
    /** @type {{ at: number, number: number, seconds: number } | undefined} */
    let measured
    turn()

    /** @param {object} done */
    async function end(done) {
      process.send?.({ measured: true })
      const more = rate === undefined && alone && { alone: await costOf(alone) }
      process.send?.({ done: { ...done, ...more, total: number } })
    }

    function turn() {
      const now = performance.now()
      const elapsed = (now - start) / 1000
      if (measured === undefined && elapsed >= warmUp) {
        measured = { at: now, number, seconds: seconds() }
        process.send?.({ measuring: true })
      } else if (measured !== undefined && now - measured.at >= length * 1000) {
        const published = number - measured.number
        const done = { published, processorSeconds: seconds() - measured.seconds, seconds: (now - measured.at) / 1000 }
        void end(done)
        return
      }
      if (rate !== undefined) {
        const due = Math.floor(elapsed * rate) - (number - first)
        publishSome(due, number, publish)
        number += due
        setTimeout(turn, 1)
      } else if (number - got > MOST_AHEAD - BATCH) {
        goOn = turn
      } else {
        publishSome(BATCH, number, publish)
        number += BATCH
        setImmediate(turn)
      }
    }
  }
}
