/**
 * A live ticker: a client that asks for a symbol gets its price, until the connection ends or the client
 * unsubscribes.
 *
 *   node examples/ticker.mjs      then: npx wscat -c ws://localhost:7000/prices, and type +ACME or -ACME
 *
 * Each symbol is a topic. Prices are made only while a client listens: `subscription` tells when the first
 * subscriber comes and when the last one leaves. A client that reads too slowly misses prices (`dropped`)
 * rather than filling the server's memory.
 */
import { WebSocketServer } from 'native-websocket-server'

/** Milliseconds between two prices of a symbol. */
const INTERVAL = Number(process.env.INTERVAL ?? 1000)

/** @type {Map<string, NodeJS.Timeout>} the source of each symbol that is listened to */
const sources = new Map()

const server = new WebSocketServer().ws('/prices', {
  message(socket, message) {
    const [, sign, symbol] = /^([+-])([A-Z]{1,8})$/.exec(String(message)) ?? []
    if (symbol === undefined) socket.send('{"error":"Say +SYMBOL or -SYMBOL."}')
    else if (sign === '+') socket.subscribe(symbol)
    else socket.unsubscribe(symbol)
  },
  subscription(_socket, symbol, subscribers, before) {
    if (before === 0) sources.set(symbol, startSource(symbol))
    if (subscribers === 0) {
      clearInterval(sources.get(symbol))
      sources.delete(symbol)
      console.log(`No client listens to ${symbol} any more`)
    }
  },
  dropped: (socket) => console.log(`${socket.id} is too slow, and misses a price`),
  maxPayloadLength: 16,
  maxBackpressure: 64 * 1024,
})

/** @param {string} symbol */
function startSource(symbol) {
  console.log(`A client listens to ${symbol}`)
  let price = 100
  return setInterval(() => {
    price *= 1 + (Math.random() - 0.5) / 100
    server.publish(symbol, JSON.stringify({ symbol, price: price.toFixed(2) }))
  }, INTERVAL)
}

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`Ticker on ws://localhost:${port}/prices`)
