// node forget.js PREFIX: deletes the topics whose names begin so.

import { forgetTopics } from './log.js'

const prefix = process.argv[2]
if (!prefix) {
  console.error('usage: node forget.js PREFIX')
  process.exit(2)
}
await forgetTopics({ brokers: (process.env.KAFKA_BROKERS ?? '127.0.0.1:9092').split(','), prefix })
