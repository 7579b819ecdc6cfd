"""A sector service in memory: the real state machine, leases and locks, without Raft and disks.

Clients run in one process; a message is handed over, not encoded. Every answer waits a turn of the
loop, so that requests interleave as they do on a network.
"""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from blocktree.actors import Actor, Call
from blocktree.actors.actor import dispatch_table
from blocktree.fault import Fault, Kind
from blocktree.files.opening import Limits, open_filesystem
from blocktree.files.service import Filesystem
from blocktree.keys import Credential, Key, Principal
from blocktree.keys.tree import NewTree
from blocktree.names import Address, Digest, FileId, Path, digest_of, join
from blocktree.sectors.check import check_commit
from blocktree.sectors.genesis import found_tree
from blocktree.sectors.state import SectorState
from blocktree.sectors.table import MemoryTable
from blocktree.sectors.transaction import Commit as CommitCommand
from blocktree.store import messages as m
from blocktree.store.firstlease import to_lease
from blocktree.store.leases import Leases
from blocktree.store.locks import LockTable
from blocktree.wire import Record
from keys.forge import NOW, a_tree, drawn

LEASE_S = 5.0
NODE = "pi-1"


class MemoryStore:
    """The one node of a tree."""

    def __init__(self, *, delay: Callable[[], float] = lambda: 0.0) -> None:
        self.tree: NewTree = a_tree()
        self.node = join(Path(f"/{self.tree.tree}"), NODE)
        self.state = SectorState(MemoryTable())
        genesis = found_tree(
            self.tree.owner,
            self.tree.user.key.principal,
            self.tree.members,
            uid=0,
            gid=0,
            time_ns=NOW * 10**9,
            draw=drawn(7),
        )
        assert self.state.apply(1, genesis).kind is None
        self.index = 1
        self.blobs: dict[Digest, bytes] = {}
        self.leases = Leases(1)
        self.locks = LockTable(1, time.monotonic() - 60)
        self.waiting: dict[bytes, asyncio.Event] = {}
        self.processes: dict[Path, MemoryRuntime] = {}
        self.counts: dict[str, int] = {}
        self.delay = delay
        self.refuse: Callable[[Record], Fault | None] = lambda _: None
        self.tamper: Callable[[Record, Record], Record] = lambda _, answer: answer
        self.commits: list[m.Commit] = []

    async def answer(self, message: Record, here: Path) -> Record:
        name = type(message).__name__
        self.counts[name] = self.counts.get(name, 0) + 1
        await asyncio.sleep(self.delay())
        fault = self.refuse(message)
        if fault is not None:
            raise fault
        method = getattr(self, re.sub("([A-Z])", r"_\1", name).lower())
        answer: Record = await method(message, here)
        await asyncio.sleep(0)
        return self.tamper(message, answer)

    async def _put_blobs(self, message: m.PutBlobs, here: Path) -> m.Stored:
        return m.Stored(tuple(self._stage(message.lengths, bytes(message.body))))

    def _stage(self, lengths: tuple[int, ...], body: bytes) -> list[Digest]:
        digests, start = [], 0
        assert sum(lengths) == len(body)
        for length in lengths:
            blob = body[start : start + length]
            digest = digest_of(blob)
            self.blobs[digest] = blob
            digests.append(digest)
            start += length
        return digests

    async def _commit(self, message: m.Commit, here: Path) -> m.Committed:
        self.commits.append(message)
        self._stage(message.lengths, bytes(message.body))
        writer = self.processes[here].writer
        checked = check_commit(message.transaction, writer)
        for change in checked.transaction.changes:
            for blob in change.blobs:
                if blob not in self.blobs:
                    raise Fault(Kind.NOT_FOUND, "a blob is not here")
        files = tuple(change.file for change in checked.transaction.changes)
        self.leases.begin(files)
        try:
            await self._call_back(files, message.session)
            self.index += 1
            command = CommitCommand(message.transaction, time.time_ns(), writer.id)
            outcome = self.state.apply(self.index, command, checked)
        finally:
            self.leases.end(files)
        if (fault := outcome.fault()) is not None:
            raise fault
        granted = self._extend(message.session, here)
        newest = all(  # not so if the commit happened before and was sent again
            signed is None or self.state.header(signed.header.file) == signed
            for signed in checked.headers
        )
        leased = to_lease(checked)
        if granted is None or not newest or not self.leases.lease(message.session, *leased):
            return m.Committed(self.index)
        return m.Committed(self.index, int(LEASE_S * 1000), granted.grant, granted.since)

    async def _get_headers(self, message: m.GetHeaders, here: Path) -> m.Headers:
        if message.exclusive or self.leases.any_exclusive:
            await self._call_back(message.files, message.session, exclusive=not message.exclusive)
        headers: list[bytes | None] = []
        for number, file in enumerate(message.files):
            signed = self.state.header(file)
            if signed is None:
                headers.append(None)
            elif message.known and message.known[number] == signed.header.version:
                headers.append(b"")
            else:
                headers.append(signed.encoded)
        granted = self._extend(message.session, here)
        common, alone = ((), message.files) if message.exclusive else (message.files, ())
        if granted is None or not self.leases.lease(message.session, common, alone):
            return m.Headers(tuple(headers), self.index)
        holders = tuple(self._holders(file, here) for file in message.files)
        ttl = int(LEASE_S * 1000)
        return m.Headers(tuple(headers), self.index, ttl, granted.grant, holders, granted.since)

    def _holders(self, file: FileId, here: Path) -> tuple[Path, ...]:
        return tuple(path for path in self.processes if path != here)

    async def _get_blobs(self, message: m.GetBlobs, here: Path) -> m.Blobs:
        parts = [self.blobs.get(digest, b"") for digest in message.digests[:100]]
        return m.Blobs(tuple(map(len, parts)), b"".join(parts))

    async def _keep_alive(self, message: m.KeepAlive, here: Path) -> m.Alive:
        granted = self._extend(message.session, here)
        assert granted is not None
        now = time.monotonic()
        self.locks.alive(message.session, now)
        self.locks.reassert(message.session, message.locks, now)
        return m.Alive(int(LEASE_S * 1000), 1, 0, granted.since)

    async def _lock(self, message: m.Lock, here: Path) -> m.Locked:
        now = time.monotonic()
        if self.locks.take(message.session, message.file, message.lock, now) is None:
            return m.Locked(1)
        if not message.wait:
            raise Fault(Kind.CONFLICT, "held")
        await asyncio.sleep(0.01)
        raise Fault(Kind.BUSY, "still waiting")

    async def _unlock(self, message: m.Unlock, here: Path) -> m.Locked:
        self.locks.free(message.session, message.file, message.lock, time.monotonic())
        return m.Locked(1)

    async def _get_lock(self, message: m.GetLock, here: Path) -> m.InTheWay:
        return m.InTheWay(self.locks.probe(message.session, message.file, message.lock))

    async def _get_members(self, message: m.GetMembers, here: Path) -> m.Members:
        rows = self.state.members()
        members = tuple(row.member for row in rows if row.belongs)
        former = tuple(row.member for row in rows if not row.belongs)
        return m.Members(members, self.index, former)

    async def _get_status(self, message: m.GetStatus, here: Path) -> m.Status:
        values: dict[str, Any] = dict.fromkeys(m.Status.__dataclass_fields__, 0)
        values |= {"path": self.node, "role": m.Role.LEADER, "leader": self.node, "peers": ()}
        values |= {"bytes_total": 1 << 40, "bytes_free": 1 << 39, "faults": ()}
        return m.Status(**values)

    async def _call_back(
        self, files: tuple[FileId, ...], but: bytes, *, exclusive: bool = False
    ) -> None:
        while standing := self.leases.outstanding(
            files, but, time.monotonic(), exclusive=exclusive
        ):
            for item in standing:
                recall = m.Recall(item.session, item.files, item.grant)
                runtime = self.processes.get(item.process)
                if runtime is not None:
                    await runtime.deliver(m.FILES_ACTOR, recall)
                self.leases.returned(item.session, item.files, item.grant)

    def _extend(self, session: bytes, here: Path) -> Any:
        if not session:
            return None
        now = time.monotonic()
        return self.leases.extend(session, here, None, now, now + LEASE_S * 1.2)


class MemoryRuntime:
    """The actor runtime of one client, as far as a volume needs it."""

    def __init__(self, store: MemoryStore, here: Path, writer: Principal) -> None:
        self.store = store
        self.here = here
        self.writer = writer
        self.actors: dict[str, Actor] = {}
        store.processes[here] = self

    async def spawn(self, name: str, actor: Actor) -> Address:
        self.actors[name] = actor
        return Address(self.here, name)

    async def stop(self, name: str) -> None:
        self.actors.pop(name, None)
        if not self.actors:
            self.store.processes.pop(self.here, None)

    async def ask(self, to: Address, message: Record, /, *, timeout: float) -> Record:
        async with asyncio.timeout(timeout):
            if to.process == self.store.node:
                return await self.store.answer(message, self.here)
            peer = self.store.processes.get(to.process)
            if peer is None:
                raise Fault(Kind.UNREACHABLE, "not there", path=str(to))
            return await peer.deliver(to.actor, message)

    async def deliver(self, name: str, message: Record) -> Record:
        actor = self.actors.get(name)
        if actor is None:
            raise Fault(Kind.UNREACHABLE, "no such actor", path=name)
        method = dispatch_table(type(actor))[type(message)]
        answer = method(actor, message, Call(Address(self.store.node, "store")))
        if not isinstance(answer, Record):
            answer = await answer
        assert isinstance(answer, Record)
        return answer


def client(
    store: MemoryStore, name: str = "laptop", *, user: Credential | None = None, **limits: Any
) -> Filesystem:
    """A volume of one client; the caller starts and closes it."""
    credential = user or store.tree.user
    runtime: Any = MemoryRuntime(store, join(credential.path, name), credential.key.principal)
    given = Limits(**{"patience_s": 2.0, "cache_bytes": 16 << 20, **limits})
    return open_filesystem(credential, runtime, lambda: [store.node], given)


def shaky(seed: int) -> Callable[[], float]:
    """Delays that reorder what is under way."""
    dice = random.Random(seed)
    return lambda: dice.choice((0.0, 0.0, 0.0001, 0.001))


__all__ = ["Key", "MemoryRuntime", "MemoryStore", "client", "shaky"]


@asynccontextmanager
async def two_clients(store: MemoryStore) -> AsyncIterator[tuple[Filesystem, Filesystem]]:
    """Two laptops of one person."""
    one, two = client(store, "one"), client(store, "two")
    await one.start()
    await two.start()
    try:
        yield one, two
    finally:
        await one.close()
        await two.close()
