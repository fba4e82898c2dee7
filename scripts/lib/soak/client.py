"""A client of the socket protocol, on nothing but the standard library."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import struct
import time
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
#: How long an answer may take before it counts as none.
PATIENCE = 30


class Closed(Exception):
    """The server has ended the connection."""


def token(secret, tenant, user, hours=48):
    """A token without a limit of messages."""
    claims = {"sub": user, "tenant": tenant, "exp": int(time.time()) + hours * 3600, "rate": 0}
    parts = [encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(parts)
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return b".".join([signed, encode(signature)]).decode()


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Socket:
    """One connection that said hello."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, url, token):
        return await asyncio.wait_for(cls._connect(url, token), PATIENCE)

    @classmethod
    async def _connect(cls, url, token):
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /v1/socket HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Closed(head.split(b"\r\n")[0].decode())
        socket = cls(reader, writer)
        socket.send({"type": "hello", "token": token})
        welcome = await socket.recv()
        if welcome["type"] != "welcome":
            raise Closed(f"no welcome: {welcome}")
        return socket

    def send(self, frame):
        self._write(TEXT, json.dumps(frame).encode())

    async def recv(self):
        """The next frame; pings are answered."""
        while True:
            try:
                first, second = await self._reader.readexactly(2)
                length = second & 0x7F
                if length >= 126:
                    size, layout = (2, ">H") if length == 126 else (8, ">Q")
                    (length,) = struct.unpack(layout, await self._reader.readexactly(size))
                payload = await self._reader.readexactly(length)
            except (asyncio.IncompleteReadError, OSError) as error:
                raise Closed(f"cut off: {error!r}") from error
            kind = first & 0x0F
            if kind == TEXT:
                return json.loads(payload)
            if kind == PING:
                self._write(PONG, payload)
            elif kind == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(f"closed {code}")

    async def ask(self, question):
        """The answer to a question on a socket that nothing else reads."""
        self.send(question)

        async def answer():
            while True:
                frame = await self.recv()
                if frame.get("id") == question["id"]:
                    return frame

        return await asyncio.wait_for(answer(), PATIENCE)

    async def close(self):
        self._write(CLOSE, struct.pack(">H", 1000))
        self.abandon()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # The other end was faster.

    def abandon(self):
        """Ends it without a word."""
        self._writer.close()

    def _write(self, kind, payload):
        length = len(payload)
        if length < 126:
            head = bytes([0x80 | kind, 0x80 | length])
        elif length < 65536:
            head = bytes([0x80 | kind, 0x80 | 126]) + struct.pack(">H", length)
        else:
            head = bytes([0x80 | kind, 0x80 | 127]) + struct.pack(">Q", length)
        # A mask of zeros changes nothing.
        self._writer.write(head + bytes(4) + payload)
