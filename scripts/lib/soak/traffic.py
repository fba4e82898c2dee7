"""Users who talk, edit, react, read and ask, and visitors who come and go."""

import asyncio
import random
import time
import uuid
from collections import Counter, deque
from urllib.parse import urlsplit

from .client import PATIENCE, Closed, Socket, token

#: How much of which command, in a hundred.
COMMANDS = {"send": 66, "react": 14, "edit": 8, "read": 8, "delete": 4}
QUESTIONS = ["history", "sync", "list", "members", "search", "outcome"]
WORDS = "amber birch cedar delta ember flint grove heron inlet juniper kelp lumen maple north otter pearl".split()
#: So many of the latest messages of a conversation are edited, deleted, reacted to.
LATEST = 50


class Wrong(Exception):
    """Something that must never be."""


class Conversation:
    """What is known of a conversation by those who are in it."""

    def __init__(self, id, members):
        self.id, self.members = id, members
        self.latest = deque(maxlen=LATEST)
        self.last_no = 0
        #: Messages that were acknowledged as delivered.
        self.delivered = set()


class Counts:
    """What has happened, and how long it took since it was last asked."""

    def __init__(self):
        self.totals = Counter()
        self.wrong = Counter()
        self.examples = {}
        self.pending_ms, self.delivered_ms = [], []

    def blame(self, what, example):
        self.wrong[what] += 1
        self.examples.setdefault(what, str(example)[:300])

    def take(self):
        """Latencies since the last call."""
        taken = {"pending_ms": self.pending_ms, "delivered_ms": self.delivered_ms}
        self.pending_ms, self.delivered_ms = [], []
        return taken


class User:
    """Somebody who is connected all the while, and checks what arrives."""

    def __init__(self, name, socket, counts):
        self.name, self.socket, self.counts = name, socket, counts
        self.conversations = {}
        self.undecided = {}
        self.questions = {}
        self.seqs = {}

    async def listen(self):
        try:
            while True:
                self.take(await self.socket.recv())
        except Closed as closed:
            self.counts.blame("closed", f"{self.name}: {closed}")

    def take(self, frame):
        kind = frame["type"]
        if kind == "event":
            self.in_order(frame)
            self.learn(frame)
        elif kind == "pending":
            command = self.undecided.get(frame["temp_id"])
            if command and not command.get("is_pending"):
                command["is_pending"] = True
                self.counts.pending_ms.append((time.monotonic() - command["due"]) * 1000)
        elif kind == "delivered":
            self.delivered(frame)
        elif kind == "rejected":
            command = self.undecided.pop(frame["temp_id"], None)
            # What was deleted meanwhile cannot be edited any more.
            is_fine = command and command["type"] in ("edit", "react", "delete") and frame["code"] == "not_found"
            self.counts.totals["rejected"] += 1
            if not is_fine:
                self.counts.blame("refused", frame)
        elif frame.get("id") in self.questions:
            asked = self.questions.pop(frame["id"])
            self.counts.totals["answers"] += 1
            if kind == "error":
                self.counts.blame("unanswered", f"{asked}: {frame}")
        elif kind == "bye":
            self.counts.blame("closed", frame)

    def delivered(self, frame):
        command = self.undecided.pop(frame["temp_id"], None)
        if command is None:
            self.counts.blame("doubled", frame)
            return
        self.counts.totals["delivered"] += 1
        self.counts.delivered_ms.append((time.monotonic() - command["due"]) * 1000)
        if not command.get("is_pending"):
            self.counts.blame("out of order", f"delivered before pending: {frame}")
        if frame.get("seq") is not None:
            self.in_order(frame)
        conversation = self.conversations.get(frame["conversation_id"])
        if command["type"] == "send" and conversation:
            if frame["message_id"] in conversation.delivered:
                self.counts.blame("doubled", frame)
            conversation.delivered.add(frame["message_id"])
            conversation.latest.append((frame["message_id"], self.name))
            conversation.last_no = max(conversation.last_no, frame["no"])

    def in_order(self, frame):
        """Each seq follows the last one on this socket."""
        id, seq = frame["conversation_id"], frame["seq"]
        last = self.seqs.get(id)
        if last is not None and seq != last + 1:
            what = "lost" if seq > last + 1 else "out of order"
            self.counts.blame(what, f"{self.name} got {seq} after {last} of {id}")
        self.seqs[id] = seq

    def learn(self, frame):
        conversation = self.conversations.get(frame["conversation_id"])
        if conversation and frame["event"]["kind"] == "message.sent":
            conversation.last_no = max(conversation.last_no, frame["event"]["no"])

    def command(self, due):
        """Asks for a change in one of the user's conversations."""
        conversation = random.choice(list(self.conversations.values()))
        kind = random.choices(list(COMMANDS), COMMANDS.values())[0]
        own = [id for id, by in conversation.latest if by == self.name]
        if (kind in ("edit", "delete") and not own) or (kind == "react" and not conversation.latest):
            kind = "send"
        temp_id = uuid.uuid4().hex
        frame = {"type": kind, "temp_id": temp_id, "conversation_id": conversation.id}
        if kind in ("send", "edit"):
            text = " ".join(random.choices(WORDS, k=random.randint(3, 40)))
            frame["content"] = {"text": f"{text} {temp_id}"}
        if kind == "edit":
            frame["message_id"] = random.choice(own)
        elif kind == "delete":
            frame.update(message_id=random.choice(own), scope=random.choice(["everyone", "purge"]))
            conversation.latest = deque((one for one in conversation.latest if one[0] != frame["message_id"]), LATEST)
        elif kind == "react":
            op = random.choice(["add", "add", "remove"])
            frame.update(message_id=random.choice(conversation.latest)[0], emoji=random.choice("👍🎉👀"), op=op)
        elif kind == "read":
            frame["up_to"] = conversation.last_no
        self.undecided[temp_id] = {"type": kind, "due": due}
        self.counts.totals["commands"] += 1
        self.counts.totals[kind] += 1
        self.socket.send(frame)

    def question(self):
        conversation = random.choice(list(self.conversations.values()))
        kind, id = random.choice(QUESTIONS), uuid.uuid4().hex
        frame = {"type": kind, "id": id, "conversation_id": conversation.id}
        if kind == "sync":
            frame["after"] = max(0, self.seqs.get(conversation.id, 0) - 100)
        elif kind == "search":
            frame.update({"in": "messages", "query": random.choice(WORDS)})
        elif kind == "outcome":
            frame["temp_ids"] = [{"conversation_id": conversation.id, "temp_id": "none"}]
        self.questions[id] = kind
        self.counts.totals["questions"] += 1
        self.socket.send(frame)


class Traffic:
    """All of them."""

    def __init__(self, system, users, members, rate, visits):
        self._system, self._rate, self._visits = system, rate, visits
        self._tenant = f"soak-{uuid.uuid4().hex[:8]}"
        self._names = [f"user{n}" for n in range(users)]
        self._members = members
        self.counts = Counts()
        self.users, self.conversations = [], []
        self._listeners, self._visitors = [], set()

    def _token(self, name):
        return token(self._system.secret, self._tenant, name)

    def _socket(self, name):
        return Socket.connect(random.choice(self._system.urls), self._token(name))

    async def begin(self):
        """Connects everybody, and makes a conversation of each group."""
        for start in range(0, len(self._names), self._members):
            names = self._names[start : start + self._members]
            owner = await self._socket(names[0])
            create = {"type": "create", "temp_id": "soak", "kind": "group", "title": "Soak", "members": names[1:]}
            owner.send(create)
            made = {"type": "pending"}
            while made["type"] != "delivered":
                made = await asyncio.wait_for(owner.recv(), PATIENCE)
                if made["type"] == "rejected":
                    raise Wrong(f"no conversation: {made}")
            await owner.close()
            self.conversations.append(Conversation(made["conversation_id"], names))
        for conversation in self.conversations:
            for name in conversation.members:
                user = User(name, await self._socket(name), self.counts)
                user.conversations[conversation.id] = conversation
                self.users.append(user)
        self._listeners = [asyncio.create_task(user.listen()) for user in self.users]

    async def run(self, seconds):
        begun = time.monotonic()
        await asyncio.gather(
            self._paced(self._rate, seconds, begun, lambda due: random.choice(self.users).command(due)),
            # Searches are limited to 60 a minute and user.
            self._paced(len(self.users) / 4, seconds, begun, lambda _: random.choice(self.users).question()),
            self._paced(self._visits, seconds, begun, self._visit),
        )
        if self._visitors:
            await asyncio.wait(self._visitors, timeout=PATIENCE)
        await self._decided()

    async def _paced(self, rate, seconds, begun, act):
        """So often a second, whatever becomes of it."""
        for n in range(int(rate * seconds)):
            due = begun + n / rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            if self.counts.wrong["closed"]:
                return
            act(due)

    def _visit(self, _):
        visitor = asyncio.create_task(self._come_and_go())
        self._visitors.add(visitor)
        visitor.add_done_callback(self._visitors.discard)

    async def _come_and_go(self):
        name = random.choice(self._names)
        try:
            if self._system.api and random.random() < 0.3:
                await self._request(name)
            else:
                socket = await self._socket(name)
                for question in [{"type": "list"}, {"type": "history", "conversation_id": self._home(name)}]:
                    answer = await socket.ask({**question, "id": "q"})
                    if answer["type"] == "error":
                        self.counts.blame("unanswered", answer)
                await asyncio.sleep(random.random() * 5)
                if random.random() < 0.5:
                    await socket.close()
                else:
                    socket.abandon()
            self.counts.totals["visits"] += 1
        except (Closed, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            self.counts.blame("turned away", f"{name}: {error!r}")

    async def _request(self, name):
        where = urlsplit(self._system.api)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        path = random.choice(["/v1/conversations", "/v1/unread", f"/v1/conversations/{self._home(name)}/messages"])
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n"
            f"Authorization: Bearer {self._token(name)}\r\n\r\n".encode()
        )
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        if b" 200 " not in answer[:20]:
            self.counts.blame("unanswered", answer[:200])

    def _home(self, name):
        return self.conversations[self._names.index(name) // self._members].id

    async def _decided(self):
        """Waits for what is under way; what never comes is lost."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.undecided():
            await asyncio.sleep(0.1)
        for user in self.users:
            for temp_id, command in user.undecided.items():
                self.counts.blame("lost", f"{user.name}: {command['type']} {temp_id} was never decided")

    def undecided(self):
        return sum(len(user.undecided) for user in self.users)

    async def compare(self):
        """Reads every conversation from its first event, and compares it with
        what was acknowledged."""
        for conversation in self.conversations:
            socket = await self._socket(conversation.members[0])
            after, kept, more = 0, Counter(), True
            while more:
                question = {"type": "sync", "id": "q", "conversation_id": conversation.id, "after": after}
                question["limit"] = 1000
                changes = await socket.ask(question)
                if changes["type"] != "changes":
                    raise Wrong(f"no answer to {question}: {changes}")
                for event in changes["events"]:
                    if event["seq"] != after + 1:
                        self.counts.blame("lost", f"{event['seq']} after {after} in {conversation.id}")
                    after = event["seq"]
                    if event["event"]["kind"] == "message.sent":
                        kept[event["event"]["message_id"]] += 1
                more = changes["more"]
            await socket.close()
            for id in conversation.delivered - kept.keys():
                self.counts.blame("lost", f"message {id} was delivered and is not there")
            for id, times in kept.items():
                if times > 1 or id not in conversation.delivered:
                    self.counts.blame("doubled", f"message {id} is there {times} times")
            self.counts.totals["compared"] += after

    async def end(self):
        tasks = [*self._listeners, *self._visitors]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for user in self.users:
            user.socket.abandon()
