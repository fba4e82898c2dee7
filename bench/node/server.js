#!/usr/bin/env node
// A minimal chat server on Kafka. README.md says what it does, and what not.

import cluster from 'node:cluster'
import http from 'node:http'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { Hub } from './hub.js'
import { Log, createTopic } from './log.js'
import { serveSockets } from './sockets.js'

const HELP = `Usage: node server.js [OPTION…]
  --port PORT      where to listen, on 127.0.0.1 (default: 7800)
  --workers N      processes that share the port (default: 1)
  --topic NAME     (default: bench.node)
  --partitions N   of the topic, when it is created (default: 12)
  --linger MS      how long a message may wait for others to be produced with;
                   0: for the end of this turn of the event loop (default: 1)

Environment: KAFKA_BROKERS, REDIS_URL and TIDINGS_JWT_SECRET, as for tidings.`

function number(values, name, least) {
  const value = Number(values[name])
  if (!/^\d+$/.test(values[name]) || value < least) throw new Error(`--${name} takes a number of at least ${least}`)
  return value
}

function environment(name) {
  if (!process.env[name]) throw new Error(`${name} is not set`)
  return process.env[name]
}

/** Nothing, where the help was asked for. */
function readConfig() {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '7800' },
      workers: { type: 'string', default: '1' },
      topic: { type: 'string', default: 'bench.node' },
      partitions: { type: 'string', default: '12' },
      linger: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  return {
    port: number(values, 'port', 1),
    workers: number(values, 'workers', 1),
    redisUrl: environment('REDIS_URL'),
    secret: new TextEncoder().encode(environment('TIDINGS_JWT_SECRET')),
    log: {
      brokers: environment('KAFKA_BROKERS').split(','),
      topic: values.topic,
      partitions: number(values, 'partitions', 1),
      lingerMs: number(values, 'linger', 0),
    },
  }
}

async function serve({ port, redisUrl, secret, log: options }) {
  const redis = new Redis(redisUrl)
  redis.on('error', (error) => console.error(`redis: ${error.message}`))
  const hub = new Hub(redis)
  const number = (conversations) => hub.number(conversations)
  const log = await Log.open(options, number, (records) => hub.take(records))
  const server = http.createServer((request, response) => {
    response.writeHead(request.url === '/readyz' ? 200 : 404).end()
  })
  serveSockets(server, hub, log, secret)
  server.listen(port, '127.0.0.1', 1024)
  process.once('SIGTERM', async () => {
    await log.close()
    process.exit(0)
  })
}

function supervise(workers) {
  for (let n = 0; n < workers; n++) cluster.fork()
  let isEnding = false
  cluster.on('exit', (worker, code, signal) => {
    if (isEnding) return
    console.error(`worker ${worker.process.pid} ended: ${signal ?? code}`)
    process.exit(1)
  })
  process.once('SIGTERM', () => {
    isEnding = true
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM')
  })
}

async function main() {
  const config = readConfig()
  if (config === undefined) {
    console.log(HELP)
    return
  }
  if (cluster.isPrimary) await createTopic(config.log)
  if (cluster.isPrimary && config.workers > 1) supervise(config.workers)
  else await serve(config)
}

main().catch((error) => {
  console.error(`server.js: ${error.message}`)
  process.exit(1)
})
