"""Actors in a mount: each is a directory, so that a shell script can talk to it.

=============  ==========================================================
``contract``   the messages it takes, with their fields
``status``     how it is, one line
``last``       the last thing worth knowing, such as a reading
``inbox``      write `Message field=value …`, then read the answer
=============  ==========================================================

A volume before the real one: what is no actor is passed on. A file's content is made when it is
looked at, and is valid for no time, so nothing of it is cached. `inbox` is a stream: one handle
that writes and reads has a conversation of its own, any other reads the answer to the last message
on this mount; writing returns when the answer is there. Removing the directory has the tree run
the actor no more.
"""

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from blocktree.actors import Runtime
from blocktree.actors.description import Describe, Description
from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import Attributes, Changes, Entry, NodeKind, Permissions
from blocktree.names import Buffer, Path
from blocktree.sectors.running import Running
from blocktree.services.conversation import Conversation
from blocktree.services.speaking import parse_fields, read_answer, write_message
from blocktree.wire import Opaque, decode

FILES = (b"contract", b"status", b"last", b"inbox")
_BASE = 1 << 62
_ASK_S = 10.0
_LOOK_S = 1.0
_DESCRIBED_S = 0.5  # what it said of itself is used again for so long …
_SILENT_S = 2.0  # … and that it said nothing, for each of its files is looked at several times
_READ_ONLY, _INBOX = 0o444, 0o666


class ActorFolders:
    """Fulfils `volume.Volume`; everything that is not of an actor is the `files`' own."""

    def __init__(self, files: Filesystem, runtime: Runtime) -> None:
        self._files = files
        self._runtime = runtime
        self._actors: dict[int, Attributes] = {}  # by their numbers
        self._numbers: dict[int, tuple[int, bytes]] = {}  # of their files, to actor and name
        self._of: dict[tuple[int, bytes], int] = {}
        self._answers: dict[int, bytes] = {}  # by actor: what `inbox` holds
        self._written: dict[int, int] = {}  # by actor: when, nanoseconds since 1970
        self._handles: dict[int, bytes] = {}  # of what is only read: its content
        self._inboxes: dict[int, tuple[int, Conversation]] = {}  # by handle: whose, what
        self._described: dict[int, tuple[float, Description | Fault]] = {}  # until when
        self._next = _BASE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    # names

    async def lookup(self, directory: int, name: bytes) -> Attributes:
        """The node called `name`."""
        if directory in self._actors and name not in {b".", b".."}:
            if name not in FILES:
                raise Fault(Kind.NOT_FOUND, "an actor has no such file")
            return await self._made(directory, name)
        return self._shown(await self._files.lookup(directory, name))

    async def readdir(
        self, directory: int, after: int, count: int, *, attributes: bool = False
    ) -> Sequence[Entry]:
        """Up to `count` entries behind the cookie `after`."""
        if directory not in self._actors:
            entries = await self._files.readdir(directory, after, count, attributes=attributes)
            return [self._shown_entry(entry) for entry in entries]
        return [
            Entry(
                number + 1,
                name,
                self._number(directory, name),
                NodeKind.FILE,
                await self._made(directory, name) if attributes else None,
            )
            for number, name in enumerate(FILES)
            if number >= after
        ][:count]

    async def create(
        self, directory: int, name: bytes, permissions: Permissions, flags: int
    ) -> tuple[Attributes, int]:
        """Make a file, where that can be."""
        if directory in self._actors:
            made = await self.lookup(directory, name)
            return made, await self.open(made.ino, flags)
        return await self._files.create(directory, name, permissions, flags)

    async def rmdir(self, directory: int, name: bytes) -> None:
        """Remove a directory, or have an actor run no more."""
        found = await self._files.lookup(directory, name)
        self._files.forget(found.ino, 1)
        if found.kind is NodeKind.ACTOR:
            await self._files.unlink(directory, name)
            self._actors.pop(found.ino, None)
        else:
            await self._files.rmdir(directory, name)

    # nodes

    async def getattr(self, ino: int) -> Attributes:
        """The node's attributes."""
        if ino in self._numbers:
            return await self._made(*self._numbers[ino])
        return self._shown(await self._files.getattr(ino))

    async def setattr(self, ino: int, changes: Changes, handle: int | None = None) -> Attributes:
        """Change attributes; those of an actor's files stay as they are."""
        if ino in self._numbers:
            return await self.getattr(ino)
        return self._shown(await self._files.setattr(ino, changes, handle))

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        """One extended attribute."""
        if ino in self._numbers:
            raise Fault(Kind.NOT_FOUND, "no such attribute")
        return await self._files.getxattr(ino, name)

    async def listxattr(self, ino: int) -> Sequence[bytes]:
        """The names of all."""
        return () if ino in self._numbers else await self._files.listxattr(ino)

    def remember(self, ino: int, count: int = 1) -> None:
        """The kernel was told of `ino` more times."""
        if ino not in self._numbers:
            self._files.remember(ino, count)

    def forget(self, ino: int, count: int) -> None:
        """The kernel dropped lookups of `ino`. The numbers of an actor's files stay the same."""
        if ino not in self._numbers:
            self._files.forget(ino, count)

    def valid_s(self, ino: int) -> float:
        """Seconds for which what was just said of `ino` may be kept."""
        own = ino in self._numbers or ino in self._actors
        return 0.0 if own else self._files.valid_s(ino)

    def streamed(self, ino: int) -> bool:
        """Whether reading and writing know no offset there, as on a pipe: the inboxes."""
        known = self._numbers.get(ino)
        return known is not None and known[1] == b"inbox"

    # handles

    async def open(self, ino: int, flags: int) -> int:
        """Open a file."""
        known = self._numbers.get(ino)
        if known is None:
            return await self._files.open(ino, flags)
        actor, name = known
        if name == b"inbox":
            self._next += 1
            self._inboxes[self._next] = (actor, Conversation(self._answers.get(actor, b"")))
            return self._next
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise Fault(Kind.DENIED, "only the inbox of an actor is written to")
        content = await self._content(actor, name)
        self._next += 1
        self._handles[self._next] = content
        return self._next

    async def read(self, handle: int, offset: int, size: int) -> Buffer:
        """Up to `size` bytes from `offset`; from an inbox, those that come next."""
        if (inbox := self._inboxes.get(handle)) is not None:
            await self._ask_all(inbox, inbox[1].end_line())
            return inbox[1].read(size)
        content = self._handles.get(handle)
        if content is None:
            return await self._files.read(handle, offset, size)
        return content[offset : offset + size]

    async def write(self, handle: int, offset: int, data: Buffer) -> int:
        """Write all of `data`; to an inbox: ask, and keep the answer."""
        inbox = self._inboxes.get(handle)
        if inbox is None:
            return await self._files.write(handle, offset, data)
        await self._ask_all(inbox, inbox[1].write(bytes(data)))
        return len(data)

    async def flush(self, handle: int) -> None:
        """A descriptor is closed."""
        if (inbox := self._inboxes.get(handle)) is not None:
            await self._ask_all(inbox, inbox[1].end_line())
        elif handle not in self._handles:
            await self._files.flush(handle)

    async def fsync(self, handle: int) -> None:
        """Make what was written durable."""
        if handle not in self._handles and handle not in self._inboxes:
            await self._files.fsync(handle)

    async def release(self, handle: int) -> None:
        """The last descriptor is gone."""
        if self._handles.pop(handle, None) is None and self._inboxes.pop(handle, None) is None:
            await self._files.release(handle)

    # inside

    def _shown(self, attributes: Attributes) -> Attributes:
        if attributes.kind is not NodeKind.ACTOR:
            return attributes
        self._actors[attributes.ino] = attributes
        return replace(attributes, kind=NodeKind.DIRECTORY, mode=0o555, links=2, size=0, blocks=0)

    def _shown_entry(self, entry: Entry) -> Entry:
        if entry.kind is not NodeKind.ACTOR:
            return entry
        attributes = None if entry.attributes is None else self._shown(entry.attributes)
        return replace(entry, kind=NodeKind.DIRECTORY, attributes=attributes)

    def _number(self, actor: int, name: bytes) -> int:
        key = (actor, name)
        if key not in self._of:
            self._next += 1
            self._of[key] = self._next
            self._numbers[self._next] = key
        return self._of[key]

    async def _made(self, actor: int, name: bytes) -> Attributes:
        whole, now = self._actors[actor], time.time_ns()
        content = await self._content(actor, name)
        inbox = name == b"inbox"
        changed = self._written.get(actor, whole.mtime_ns) if inbox else now
        return replace(
            whole,
            ino=self._number(actor, name),
            kind=NodeKind.FILE,
            mode=_INBOX if inbox else _READ_ONLY,
            links=1,
            size=len(content),
            blocks=1,
            atime_ns=changed,
            mtime_ns=changed,
            ctime_ns=changed,
        )

    async def _content(self, actor: int, name: bytes) -> bytes:
        if name == b"inbox":
            return self._answers.get(actor, b"")
        try:
            said = await self._describe(actor)
        except Fault as fault:
            return f"! {fault.what}\n".encode()
        match name:
            case b"status":
                text = said.condition
            case b"last":
                text = said.latest
            case _:
                text = _contract(said)
        return f"{text}\n".encode() if text else b""

    async def _describe(self, actor: int, patience: float = _LOOK_S) -> Description:
        """What an actor says of itself; with more patience, one that starts or moves is awaited."""
        until, said = self._described.get(actor, (0.0, None))
        silent = isinstance(said, Fault) and patience == _LOOK_S
        if time.monotonic() > until or not (silent or isinstance(said, Description)):
            said = await self._look(actor, patience)
            valid = _SILENT_S if isinstance(said, Fault) else _DESCRIBED_S
            self._described[actor] = (time.monotonic() + valid, said)
        if isinstance(said, Description):
            return said
        assert said is not None
        raise Fault(said.kind, said.what, path=said.path, next_step=said.next_step)

    async def _look(self, actor: int, patience: float) -> Description | Fault:
        try:
            path = await self._path(actor)
            return await self._runtime.ask(path, Describe(), Description, timeout=patience)
        except Fault as fault:
            return fault

    async def _path(self, actor: int) -> Path:
        return decode(await self._files.read_actor(actor), Running).path

    async def _ask_all(self, inbox: tuple[int, Conversation], lines: Sequence[str]) -> None:
        actor, conversation = inbox
        for line in lines:
            if line.strip():
                answer = await self._ask(actor, line)
                conversation.answer(answer)
                self._answers[actor] = answer
                self._written[actor] = time.time_ns()

    async def _ask(self, actor: int, line: str) -> bytes:
        """What the actor answers to `Message field=value …`, or `! ` and what is wrong."""
        try:
            name, *fields = _words(line)
            said = await self._describe(actor, _ASK_S)
            message = write_message(said, name, parse_fields(tuple(fields)))
            path = await self._path(actor)
            answer = await self._runtime.ask(path, message, Opaque, timeout=_ASK_S)
            text = str(read_answer(said, answer.data))
        except Fault as fault:
            step = f" ({fault.next_step})" if fault.next_step else ""
            text = f"! {fault.what}{step}"
        self._described.pop(actor, None)
        return f"{text}\n".encode()


def _words(line: str) -> list[str]:
    """The words as a shell reads them: quotes hold a text with blanks together."""
    try:
        return shlex.split(line)
    except ValueError as cause:
        raise Fault(Kind.USAGE, f"a line that cannot be read: {cause}".lower()) from None


def _contract(said: Description) -> str:
    lines = [f"{said.actor}: {said.about}"]
    for shape in said.shapes:
        if shape.taken:
            fields = [
                f"{f.name}={f.kind}" if f.required else f"[{f.name}={f.kind}]" for f in shape.fields
            ]
            lines.append("  " + " ".join([shape.name, *fields]) + f"  {shape.about}")
    return "\n".join(lines)
