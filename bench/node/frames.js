// WebSocket text frames, made once and written to as many sockets as wanted.

const FIN_TEXT = 0x81

/** A frame with room for a payload, and where that begins. */
function frame(length) {
  const start = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const bytes = Buffer.allocUnsafe(start + length)
  bytes[0] = FIN_TEXT
  if (length < 126) {
    bytes[1] = length
  } else if (length < 65_536) {
    bytes[1] = 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 127
    bytes.writeBigUInt64BE(BigInt(length), 2)
  }
  return [bytes, start]
}

export function text(string) {
  const length = Buffer.byteLength(string)
  const [bytes, start] = frame(length)
  bytes.utf8Write(string, start, length)
  return bytes
}

/** Of an object that begins with `begin`, in ASCII, and goes on as `object` does. */
export function textOf(begin, object) {
  const [bytes, start] = frame(begin.length + object.length - 1)
  bytes.latin1Write(begin, start, begin.length)
  object.copy(bytes, start + begin.length, 1)
  return bytes
}
