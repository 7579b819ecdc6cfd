"""Real nodes in one process: real disks in a directory, real TLS links on loopback."""

import asyncio
import contextlib
import dataclasses
import functools
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path as File
from typing import Any, TypeVar

from blocktree.actors import Actor, Address, Call, Lane, Runtime, receives
from blocktree.disk import Limits
from blocktree.fault import Fault, Kind
from blocktree.keys import (
    MemberKind,
    NewTree,
    Ticket,
    new_ticket,
    new_tree,
    process_credential,
)
from blocktree.link import Links, Side
from blocktree.names import ROOT_FILE, Digest, FileId, Path, digest_of, join
from blocktree.node import Node, start_node
from blocktree.sectors.genesis import found_tree
from blocktree.sectors.header import (
    Cipher,
    FileKind,
    Header,
    SignedHeader,
    load_header,
    sign_header,
)
from blocktree.sectors.transaction import Change, Transaction
from blocktree.store import messages as m
from blocktree.store.folder import NodeFolder, Settings
from blocktree.store.place_messages import PLACES_ACTOR
from blocktree.wire import Record, encode

R = TypeVar("R", bound=Record)
Test = Callable[..., Coroutine[Any, Any, None]]
SMALL = Limits(segment=4 << 20, reserve=1 << 20)
NOW = int(time.time())
_AGAIN = (Kind.NOT_LEADER, Kind.UNREACHABLE, Kind.NO_QUORUM, Kind.BUSY, Kind.STOPPED)


def in_loop(test: Test) -> Callable[..., None]:
    """Run a test in an event loop of its own, for at most two minutes."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(120):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return run


@functools.cache
def make_tree() -> NewTree:
    return new_tree("home", "ann", now=NOW, passphrase="correct horse", draw=os.urandom, cost=4)


def make_ticket(
    name: str, *, addresses: tuple[str, ...] = (), genesis: bytes = b"", tree: NewTree | None = None
) -> Ticket:
    tree = tree or make_tree()
    return new_ticket(
        tree.owner,
        MemberKind.NODE,
        join(Path(f"/{tree.tree}"), name),
        now=NOW,
        draw=os.urandom,
        addresses=addresses,
        genesis=genesis,
    )


def make_genesis(tree: NewTree) -> bytes:
    genesis = found_tree(
        tree.owner,
        tree.user.key.principal,
        tree.members,
        uid=0,
        gid=0,
        time_ns=time.time_ns(),
        draw=os.urandom,
    )
    return encode(genesis)


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Poll until something holds."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


class FilesEar(Actor):
    """Answers recalls in place of a file system, when told to."""

    def __init__(self) -> None:
        self.recalls: list[m.Recall] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @receives
    async def recall(self, message: m.Recall, call: Call) -> m.Recalled:
        self.recalls.append(message)
        await self.gate.wait()
        return m.Recalled()


class Client:
    """A user's process with a session of its own."""

    def __init__(self, world: "World", name: str, tree: NewTree | None = None) -> None:
        self.world = world
        tree = tree or make_tree()
        self.user = tree.user
        self.credential = process_credential(tree.user, name, now=NOW, draw=os.urandom)
        side = Side(self.credential, lambda _: None)
        self.links = Links(side, sources=[world.where], dice=lambda: 0.5)
        self.runtime = Runtime(self.credential.path, self.links)
        self.session = os.urandom(16)
        self.ear = FilesEar()
        self.ends: list[Callable[[], Coroutine[Any, Any, None]]] = []  # before it closes
        self._turn = 0

    async def start(self) -> None:
        await self.runtime.spawn(m.FILES_ACTOR, self.ear)

    async def close(self) -> None:
        for end in self.ends:
            await end()
        await self.runtime.close()
        await self.links.close()

    async def ask_node(
        self, node: Path, message: Record, expect: type[R], *, lane: Lane | None = None
    ) -> R:
        return await self.runtime.ask(
            Address(node, m.STORE_ACTOR), message, expect, timeout=15, lane=lane
        )

    async def ask(self, message: Record, expect: type[R], seconds: float = 15) -> R:
        """Ask the leader, and again while there is none."""
        end = time.monotonic() + seconds
        target: Path | None = None
        while True:
            if target is None:
                paths = list(self.world.paths)
                self._turn += 1
                target = paths[self._turn % len(paths)]
            try:
                return await self.ask_node(target, message, expect)
            except Fault as fault:
                if fault.kind not in _AGAIN or time.monotonic() > end:
                    raise
                hint = fault.next_step if fault.kind is Kind.NOT_LEADER else ""
                target = Path(hint) if hint.startswith("/bt1") else None
            await asyncio.sleep(0.02)

    async def ask_places(self, message: Record, expect: type[R]) -> R:
        """Ask the leader's registry."""
        while True:
            leader = self.world.nodes[self.world.leader() or next(iter(self.world.nodes))]
            try:
                return await self.runtime.ask(
                    Address(leader.path, PLACES_ACTOR), message, expect, timeout=5
                )
            except Fault as fault:
                if fault.kind not in _AGAIN:
                    raise
            await asyncio.sleep(0.02)

    def header(
        self, file: FileId, before: SignedHeader | None = None, **fields: Any
    ) -> SignedHeader:
        base = Header(
            file=file,
            kind=FileKind.FILE,
            version=before.header.version + 1 if before else 1,
            size=0,
            sector_size=64 << 10,
            cipher=Cipher.PLAIN,
            epoch=1,
            root=b"",
            inline=b"",
            mode=0o644,
            uid=0,
            gid=0,
            mtime_ns=time.time_ns(),
            ctime_ns=time.time_ns(),
            links=1,
            parent=ROOT_FILE,
            previous=before.digest if before else b"",
            access=b"",
            attributes=b"",
            past_keys=b"",
            writer=self.user.principal,
        )
        return sign_header(dataclasses.replace(base, **fields), self.user.key)

    def change(self, signed: SignedHeader, blobs: Sequence[Digest] = ()) -> Change:
        header = signed.header
        return Change(header.file, header.version - 1, signed.encoded, tuple(blobs))

    def commit_message(self, *changes: Change) -> m.Commit:
        return m.Commit(encode(Transaction(changes)), self.session)

    async def write(
        self, file: FileId, before: SignedHeader | None = None, blob: bytes = b"", **fields: Any
    ) -> SignedHeader:
        """Commit the next version of a file, with one sector if `blob` is given."""
        blobs: list[Digest] = []
        if blob:
            stored = await self.ask(m.PutBlobs((len(blob),), blob), m.Stored)
            blobs = list(stored.digests)
            fields |= {"root": blobs[0], "size": len(blob)}
        signed = self.header(file, before, **fields)
        await self.ask(self.commit_message(self.change(signed, blobs)), m.Committed)
        return signed

    async def commit_with(self, file: FileId, blob: bytes) -> m.Committed:
        """Commit a first version whose one sector rides along."""
        signed = self.header(file, root=digest_of(blob), size=len(blob))
        change = encode(Transaction((self.change(signed, [digest_of(blob)]),)))
        return await self.ask(m.Commit(change, self.session, (len(blob),), blob), m.Committed)

    async def read(self, *files: FileId, **fields: Any) -> m.Headers:
        return await self.ask(m.GetHeaders(files, **fields), m.Headers)

    async def version(self, file: FileId) -> int:
        (found,) = (await self.read(file)).headers
        return load_header(found).header.version if found else 0


class World:
    """Nodes by name, running or stopped, and clients."""

    def __init__(self, root: File, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        self.nodes: dict[str, Node] = {}
        self.ports: dict[Path, int] = {}
        self.clients: list[Client] = []
        self.tree = make_tree()

    @property
    def paths(self) -> list[Path]:
        return list(self.ports)

    def where(self, path: Path) -> list[str]:
        return [f"127.0.0.1:{self.ports[path]}"] if path in self.ports else []

    def path(self, name: str) -> Path:
        return join(Path(f"/{self.tree.tree}"), name)

    async def add(self, name: str) -> Node:
        """Invite a new node; the first one founds the tree."""
        first = not self.ports
        ticket = make_ticket(
            name,
            addresses=tuple(a for path in self.paths for a in self.where(path)),
            genesis=make_genesis(self.tree) if first else b"",
        )
        settings = Settings("127.0.0.1", free_port(), discover=False)
        NodeFolder(self.root / name).invite(ticket, settings)
        return await self.start(name)

    async def start(self, name: str) -> Node:
        node = await start_node(self.root / name, self.limits)
        self.nodes[name] = node
        self.ports[node.path] = node.port
        return node

    async def stop(self, name: str) -> None:
        await self.nodes.pop(name).stop()

    async def crash(self, name: str) -> None:
        """Stop without handing over; the group has to notice."""
        await self.nodes.pop(name).kill()

    async def client(self, name: str = "laptop") -> Client:
        client = Client(self, name)
        await client.start()
        self.clients.append(client)
        return client

    def leader(self) -> str:
        """The name of the node that leads, "" while none does."""
        leads = [n for n, node in self.nodes.items() if node.store.replica.driver.leads]
        return leads[0] if len(leads) == 1 else ""

    def voters(self) -> int:
        name = self.leader()
        if not name:
            return 0
        return len(self.nodes[name].store.replica.driver.membership.voters)

    def recorded(self) -> bool:
        """Whether the leader has every running node on record."""
        roster = self.nodes[self.leader()].roster
        return all(roster.belongs(node.credential.identity) for node in self.nodes.values())

    async def settled(self) -> None:
        """Every running node has applied what the leader has committed."""

        def level() -> bool:
            name = self.leader()
            if not name:
                return False
            commit = self.nodes[name].store.replica.driver.raft.commit
            return all(n.store.replica.driver.applied >= commit for n in self.nodes.values())

        await until(level)

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
        for name in list(self.nodes):
            await self.crash(name)
        await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def world(root: File, nodes: int = 3, limits: Limits = SMALL) -> AsyncIterator[World]:
    """A tree with this many voters."""
    made = World(root, limits)
    try:
        for number in range(nodes):
            await made.add(f"pi-{number + 1}")
        await until(lambda: made.voters() == nodes and made.recorded())
        await made.settled()
        yield made
    finally:
        await made.close()
