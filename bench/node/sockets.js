// The socket protocol, as far as `tidings bench` needs it.

import { randomUUID } from 'node:crypto'
import { jwtVerify } from 'jose'
import { WebSocket, WebSocketServer } from 'ws'
import { text } from './frames.js'
import { valueOf } from './hub.js'

const PATH = '/v1/socket'
const HELLO_PATIENCE_MS = 5_000
const HEARTBEAT_S = 25
const MAX_FRAME_BYTES = 65_536
/** Whoever lets this much wait is closed. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024
/** What a record takes beside its event, and what JSON may add to a text. */
const ENVELOPE_BYTES = 400

const IDENTIFIER = /^[A-Za-z0-9_.:@-]{1,64}$/
const TEMP_ID = /^[\x20-\x7e]{1,64}$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export function serveSockets(server, hub, log, secret) {
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
    // What is not UTF-8 becomes U+FFFD when it is made a string.
    skipUTF8Validation: true,
  })
  server.on('upgrade', (request, stream, head) => {
    if (request.url !== PATH) return stream.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
    sockets.handleUpgrade(request, stream, head, (socket) => {
      socket.session = new Session(socket, stream, hub, log, secret)
      socket.on('message', onMessage)
      socket.on('close', onClose)
      socket.on('error', onError)
    })
  })
}

// Shared by all sockets, whose memory this saves.
function onMessage(data, isBinary) {
  this.session.take(data, isBinary)
}

function onClose() {
  this.session.close()
}

// The close follows.
function onError() {}

/** Sessions with frames that wait for the end of this turn of the event loop. */
let touched = []

function flush() {
  const sessions = touched
  touched = []
  for (const session of sessions) session.flush()
}

class Session {
  #socket
  #stream
  #hub
  #log
  #secret
  #waiting = []
  #patience
  user

  constructor(socket, stream, hub, log, secret) {
    this.#socket = socket
    this.#stream = stream
    this.#hub = hub
    this.#log = log
    this.#secret = secret
    this.#patience = setTimeout(() => socket.close(4408, 'hello missing'), HELLO_PATIENCE_MS)
  }

  /** Sends a frame at the end of this turn, by one write with all others. */
  push(frame) {
    if (this.#waiting.length === 0) {
      if (touched.length === 0) setImmediate(flush)
      touched.push(this)
    }
    this.#waiting.push(frame)
  }

  // Past ws, which without compression writes its own frames at once and whole:
  // none is ever cut by one of ours.
  flush() {
    const frames = this.#waiting
    this.#waiting = []
    if (this.#socket.readyState !== WebSocket.OPEN) return
    this.#stream.write(frames.length === 1 ? frames[0] : Buffer.concat(frames))
    if (this.#stream.writableLength > MAX_WAITING_BYTES) this.#socket.terminate()
  }

  take(data, isBinary) {
    let frame
    try {
      frame = isBinary ? null : JSON.parse(data.utf8Slice())
    } catch {
      frame = null
    }
    if (frame === null || typeof frame !== 'object') return this.#socket.close(4400, 'bad frame')
    if (this.user === undefined) return this.#open(frame)
    switch (frame.type) {
      case 'send':
        return this.#send(frame)
      case 'create':
        return this.#create(frame)
      case 'ping':
        return this.push(text('{"type":"pong"}'))
      default:
        return this.#refuse(undefined, 'unknown_type', 'there are send, create and ping')
    }
  }

  close() {
    this.#forgetPatience()
    if (this.user !== undefined) this.#hub.leave(this)
  }

  async #open({ type, token }) {
    let claims
    try {
      if (type !== 'hello') throw new Error('no hello')
      const options = { algorithms: ['HS256'], requiredClaims: ['sub', 'tenant', 'exp'] }
      claims = (await jwtVerify(token, this.#secret, options)).payload
      if (!IDENTIFIER.test(claims.sub) || !IDENTIFIER.test(claims.tenant)) throw new Error('a claim')
    } catch {
      return this.#socket.close(4401, 'not authorized')
    }
    // Meanwhile it may have been closed, or another hello have come.
    if (this.#socket.readyState !== WebSocket.OPEN || this.user !== undefined) return
    this.#forgetPatience()
    this.user = claims.sub
    this.#hub.join(this)
    const welcome = {
      type: 'welcome',
      session_id: randomUUID(),
      user_id: claims.sub,
      tenant: claims.tenant,
      server_time: new Date().toISOString(),
      heartbeat_s: HEARTBEAT_S,
      max_frame_bytes: MAX_FRAME_BYTES,
    }
    this.push(text(JSON.stringify(welcome)))
  }

  #forgetPatience() {
    clearTimeout(this.#patience)
    this.#patience = undefined
  }

  #send({ temp_id: tempId, conversation_id: conversation, content }) {
    if (!TEMP_ID.test(tempId)) return this.#refuse(undefined, 'invalid', 'temp_id')
    if (!UUID.test(conversation)) return this.#refuse(tempId, 'invalid', 'conversation_id')
    if (typeof content?.text !== 'string' || content.text === '') return this.#refuse(tempId, 'invalid', 'content')
    const messageId = randomUUID()
    const event = `{"kind":"message.sent","message_id":"${messageId}","content":{"text":${JSON.stringify(content.text)}}}`
    this.#append(tempId, conversation, messageId, event)
  }

  async #create({ temp_id: tempId, kind, title, members }) {
    if (!TEMP_ID.test(tempId)) return this.#refuse(undefined, 'invalid', 'temp_id')
    if (!Array.isArray(members) || !members.every((member) => IDENTIFIER.test(member))) {
      return this.#refuse(tempId, 'invalid', 'members')
    }
    const conversation = randomUUID()
    const all = [...new Set([this.user, ...members])]
    try {
      await this.#hub.create(conversation, all)
    } catch {
      return this.#refuse(tempId, 'unavailable', 'Redis does not answer')
    }
    const event = { kind: 'conversation.updated', op: 'create', conversation: { kind, title }, members: all }
    this.#append(tempId, conversation, randomUUID(), JSON.stringify(event))
  }

  #append(tempId, conversation, messageId, event) {
    const at = new Date().toISOString()
    const ids = `"temp_id":${JSON.stringify(tempId)},"conversation_id":"${conversation}","message_id":"${messageId}"`
    const message = new Message(this, ids, at)
    this.#hub.expect(messageId, message)
    this.#log.append({
      conversation,
      partition: partitionOf(conversation, this.#log.partitions),
      key: messageId,
      bytes: ENVELOPE_BYTES + Buffer.byteLength(event),
      value: (seq) => valueOf(conversation, seq, `"at":"${at}","by":"${this.user}","event":${event}`),
      acked: (error) => {
        if (error === undefined) return message.pending()
        this.#hub.forget(messageId)
        this.#refuse(tempId, 'unavailable', 'the log does not answer')
      },
    })
  }

  #refuse(tempId, code, message) {
    const type = tempId === undefined ? 'error' : 'rejected'
    this.push(text(JSON.stringify({ type, temp_id: tempId, code, message, retry: code === 'unavailable' })))
  }
}

/** What the sender of a message waits for. */
class Message {
  #ids
  #at
  #isPending = false
  session

  constructor(session, ids, at) {
    this.session = session
    this.#ids = ids
    this.#at = at
  }

  /** Kafka has it. */
  pending() {
    if (this.#isPending) return
    this.#isPending = true
    this.session.push(text(`{"type":"pending",${this.#ids},"at":"${this.#at}"}`))
  }

  /** It is read back, which may be before its acknowledgement is. */
  delivered(seq) {
    this.pending()
    this.session.push(text(`{"type":"delivered",${this.#ids},"seq":${seq},"at":"${this.#at}"}`))
  }
}

/** The id is a UUID of random bits. */
function partitionOf(conversation, partitions) {
  return Number.parseInt(conversation.slice(0, 8), 16) % partitions
}
