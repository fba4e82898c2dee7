// The log: messages are produced in batches, and read back by every process.

import net from 'node:net'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'

const START_PATIENCE_MS = 30_000
const COMMIT_INTERVAL_MS = 10_000
/** Below what a partition takes at once (max.message.bytes). */
const MAX_BATCH_BYTES = 900_000

// Without it a request waits up to 40 ms for the acknowledgement of the packet
// before it: kafkajs leaves Nagle's algorithm on.
const socketFactory = ({ host, port, onConnect }) => {
  const socket = net.connect({ host, port }, onConnect)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 60_000)
  return socket
}

const client = (brokers) =>
  new Kafka({ clientId: 'bench-node', brokers, socketFactory, logLevel: logLevel.WARN })

/** Creates the topic where it is not there, and waits for its leaders. */
export async function createTopic({ brokers, topic, partitions }) {
  const admin = client(brokers).admin()
  await admin.connect()
  const topics = await admin.listTopics()
  if (!topics.includes(topic)) {
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions }], waitForLeaders: true })
  }
  await admin.disconnect()
}

/** Deletes the topics whose names begin with a prefix. */
export async function forgetTopics({ brokers, prefix }) {
  const admin = client(brokers).admin()
  await admin.connect()
  const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix))
  if (topics.length > 0) await admin.deleteTopics({ topics })
  await admin.disconnect()
}

/** A topic that is new may take a moment until each partition has its leader. */
async function endsOf(kafka, topic) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    const deadline = Date.now() + START_PATIENCE_MS
    for (;;) {
      try {
        return await admin.fetchTopicOffsets(topic)
      } catch (error) {
        if (!error.retriable || Date.now() > deadline) throw error
        await sleep(100)
      }
    }
  } finally {
    await admin.disconnect()
  }
}

export class Log {
  #producer
  #consumer
  #topic
  #number
  #lingerMs
  #waiting = []
  #scheduled = false
  #producing = false
  /** partition → the last offset that was read */
  #read = new Map()
  #committing
  partitions

  /**
   * Reads from the end of each partition on.
   * @param number is asked for the numbers of records, given their conversations.
   * @param take is given the records of a partition, oldest first.
   */
  static async open({ brokers, topic, lingerMs }, number, take) {
    const log = new Log()
    const kafka = client(brokers)
    log.#topic = topic
    log.#number = number
    log.#lingerMs = lingerMs

    const ends = await endsOf(kafka, topic)
    log.partitions = ends.length

    // One request at a time, so that a retry changes no order.
    log.#producer = kafka.producer({
      allowAutoTopicCreation: false,
      createPartitioner: () => ({ message }) => message.partition,
    })
    await log.#producer.connect()

    // A group of its own: every process reads everything, for its own sockets.
    // A fetch waits at the broker until there is one byte: no delay, and no
    // polling while nobody talks.
    log.#consumer = kafka.consumer({
      groupId: `${topic}.${randomUUID()}`,
      allowAutoTopicCreation: false,
      // bench/compare pauses who is not measured.
      sessionTimeout: 120_000,
      minBytes: 1,
      maxWaitTimeInMs: 100,
      maxBytesPerPartition: 4 * 1024 * 1024,
    })
    await log.#consumer.connect()
    await log.#consumer.subscribe({ topic })
    const joined = new Promise((resolve) => log.#consumer.on('consumer.group_join', resolve))
    await log.#consumer.run({
      // kafkajs would commit after every batch of every partition, whatever its
      // intervals say, and read on only when that is done.
      autoCommit: false,
      eachBatch: ({ batch }) => {
        log.#read.set(batch.partition, batch.lastOffset())
        return take(batch.messages)
      },
    })
    for (const { partition, high } of ends) log.#consumer.seek({ topic, partition, offset: high })
    await joined
    log.#committing = setInterval(() => log.#commit(), COMMIT_INTERVAL_MS)
    return log
  }

  /**
   * Appends a record: its conversation, partition and key, about how many bytes
   * its value takes, `value`, a function of its number, and `acked`, which is
   * called when all replicas have it, or with an error.
   */
  append(record) {
    this.#waiting.push(record)
    this.#schedule()
  }

  async close() {
    clearInterval(this.#committing)
    await this.#consumer.disconnect()
    await this.#producer.disconnect()
  }

  // While a request is under way the next batch grows: the slower the broker,
  // the larger the batches.
  #schedule() {
    if (this.#scheduled || this.#producing || this.#waiting.length === 0) return
    this.#scheduled = true
    const flush = () => this.#flush()
    if (this.#lingerMs > 0) setTimeout(flush, this.#lingerMs)
    else setImmediate(flush)
  }

  async #flush() {
    const records = this.#takeBatch()
    this.#scheduled = false
    this.#producing = true
    let failure
    try {
      const numbers = await this.#number(records.map(({ conversation }) => conversation))
      const messages = records.map(({ partition, key, value }, index) => {
        return { partition, key, value: value(numbers[index]) }
      })
      await this.#producer.send({ topic: this.#topic, acks: -1, messages })
    } catch (error) {
      failure = error
    }
    this.#producing = false
    this.#schedule()
    for (const { acked } of records) acked(failure)
  }

  #takeBatch() {
    let bytes = 0
    let count = 0
    while (count < this.#waiting.length) {
      bytes += this.#waiting[count].bytes
      if (bytes > MAX_BATCH_BYTES && count > 0) break
      count++
    }
    const rest = this.#waiting.splice(count)
    const batch = this.#waiting
    this.#waiting = rest
    return batch
  }

  // Nobody reads it but this consumer, should its group have to form anew.
  async #commit() {
    const offsets = [...this.#read].map(([partition, offset]) => {
      return { topic: this.#topic, partition, offset: String(BigInt(offset) + 1n) }
    })
    this.#read.clear()
    if (offsets.length === 0) return
    await this.#consumer.commitOffsets(offsets).catch((error) => console.error(`commit: ${error.message}`))
  }
}
