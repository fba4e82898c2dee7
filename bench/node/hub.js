// Who is connected, who talks with whom, and what came back from the log.

import { textOf } from './frames.js'

/**
 * A record's value begins with `{"conversation_id":"`, the id, `","seq":` and
 * the number, so that it can be passed on without being parsed.
 */
const ID_AT = 20
const ID_END = ID_AT + 36
const SEQ_AT = ID_END + 8

export function valueOf(conversation, seq, rest) {
  return Buffer.from(`{"conversation_id":"${conversation}","seq":${seq},${rest}}`)
}

function conversationOf(value) {
  return value.latin1Slice(ID_AT, ID_END)
}

function seqOf(value) {
  return Number.parseInt(value.latin1Slice(SEQ_AT, SEQ_AT + 16), 10)
}

export class Hub {
  #redis
  /** user id → sessions */
  #sessions = new Map()
  /** conversation id → its members' user ids */
  #members = new Map()
  /** message id → what its sender waits for */
  #undelivered = new Map()

  constructor(redis) {
    this.#redis = redis
  }

  join(session) {
    const sessions = this.#sessions.get(session.user)
    if (sessions) sessions.push(session)
    else this.#sessions.set(session.user, [session])
  }

  leave(session) {
    const others = this.#sessions.get(session.user)?.filter((other) => other !== session)
    if (others?.length) this.#sessions.set(session.user, others)
    else this.#sessions.delete(session.user)
  }

  /** Redis tells who is in a conversation to those that did not see it made. */
  async create(conversation, members) {
    this.#members.set(conversation, members)
    await this.#redis.sadd(`members:${conversation}`, members)
  }

  /** The next seq of each of the conversations, in their order, by one round trip. */
  async number(conversations) {
    const counts = new Map()
    for (const conversation of conversations) counts.set(conversation, (counts.get(conversation) ?? 0) + 1)
    const pipeline = this.#redis.pipeline()
    for (const [conversation, count] of counts) pipeline.incrby(`seq:${conversation}`, count)
    const results = await pipeline.exec()
    const next = new Map()
    let index = 0
    for (const [conversation, count] of counts) {
      const [error, last] = results[index++]
      if (error) throw error
      next.set(conversation, last - count + 1)
    }
    return conversations.map((conversation) => {
      const seq = next.get(conversation)
      next.set(conversation, seq + 1)
      return seq
    })
  }

  expect(messageId, message) {
    this.#undelivered.set(messageId, message)
  }

  forget(messageId) {
    this.#undelivered.delete(messageId)
  }

  /** Takes records of a partition, oldest first. */
  async take(records) {
    for (const { key, value } of records) {
      const conversation = conversationOf(value)
      const members = this.#members.get(conversation) ?? (await this.#load(conversation))
      const messageId = key.latin1Slice()
      const message = this.#undelivered.get(messageId)
      if (message !== undefined) {
        this.#undelivered.delete(messageId)
        message.delivered(seqOf(value))
      }
      const event = textOf('{"type":"event",', value)
      for (const member of members) {
        const sessions = this.#sessions.get(member)
        if (sessions === undefined) continue
        for (const session of sessions) {
          if (session !== message?.session) session.push(event)
        }
      }
    }
  }

  async #load(conversation) {
    const members = await this.#redis.smembers(`members:${conversation}`)
    this.#members.set(conversation, members)
    return members
  }
}
