"""Peers that send wrong bytes and servers that lie about headers are found out."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace

from blocktree.fault import Fault, Kind
from blocktree.files.upload import BATCH_BYTES
from blocktree.files.volume import ROOT_INO
from blocktree.keys import MemberKind, new_credential, user_path
from blocktree.sectors.header import load_header, sign_header
from blocktree.store import messages as m
from blocktree.wire import Record
from files.memory_store import MemoryStore, client
from files.test_volume import MINE, RW, get, put, refused
from keys.forge import NOW, drawn

Forge = Callable[[MemoryStore, bytes], bytes]


def test_bad_bytes_are_blamed_on_their_sender_and_fetched_elsewhere() -> None:
    async def play() -> None:
        store = MemoryStore()
        liar, honest, reader = (client(store, name) for name in ("liar", "honest", "reader"))
        for volume in (liar, honest, reader):
            await volume.start()
        content = os.urandom(2_000_000)
        ino = await put(honest, b"f", content)
        await liar.lookup(ROOT_INO, b"f")
        assert await get(liar, ino) == content
        held = liar.peers._cache
        held.blob = lambda digest: bytes(100)  # type: ignore[method-assign]
        await reader.lookup(ROOT_INO, b"f")
        assert await get(reader, ino) == content
        sources = {str(s.address.process).split("/")[-1]: s for s in reader.sources()}
        assert sources["liar"].bad > 0 or sources["liar"].answers == 0
        assert sources["honest"].bad == 0
        assert sum(s.blobs for s in reader.sources()) >= 31
        for volume in (liar, honest, reader):
            await volume.close()

    asyncio.run(play())


def test_blobs_come_from_peers_before_the_service() -> None:
    async def play() -> None:
        store = MemoryStore()
        writer, reader = client(store, "writer"), client(store, "reader")
        await writer.start()
        await reader.start()
        content = os.urandom(2_000_000)
        ino = await put(writer, b"f", content)
        await reader.lookup(ROOT_INO, b"f")
        before = store.counts.get("GetBlobs", 0)
        assert await get(reader, ino) == content
        assert store.counts.get("GetBlobs", 0) == before
        assert writer.peers.served >= 31
        await writer.close()
        await reader.close()

    asyncio.run(play())


async def _refused_header(kind: Kind, forge: Forge) -> None:
    """The server answers GetHeaders with what `forge` makes of the true answer."""
    store = MemoryStore()
    writer, reader = client(store, "writer"), client(store, "reader")
    await writer.start()
    await reader.start()
    ino = await put(writer, b"f", b"one")
    await reader.lookup(ROOT_INO, b"f")
    handle = await writer.open(ino, RW)
    await reader.getattr(ino)
    await writer.write(handle, 0, b"two")
    await writer.flush(handle)
    await writer.release(handle)

    def tamper(message: Record, answer: Record) -> Record:
        if isinstance(message, m.GetHeaders) and isinstance(answer, m.Headers):
            return replace(answer, headers=tuple(forge(store, h) for h in answer.headers if h))
        return answer

    store.tamper = tamper
    await refused(kind, reader.getattr(ino))
    store.tamper = lambda _, answer: answer
    assert (await reader.getattr(ino)).size == 3
    await writer.close()
    await reader.close()


def test_a_header_that_was_altered_is_refused() -> None:
    def forge(store: MemoryStore, encoded: bytes) -> bytes:
        header = load_header(encoded).header
        signed = sign_header(header, store.tree.owner.key).encoded
        return encoded[:-64] + signed[-64:]

    asyncio.run(_refused_header(Kind.DAMAGED, forge))


def test_a_header_by_somebody_without_the_right_is_refused() -> None:
    def forge(store: MemoryStore, encoded: bytes) -> bytes:
        tree = store.tree
        mallory = new_credential(
            tree.owner, MemberKind.USER, user_path(tree.tree, "mallory"), now=NOW, draw=drawn(5)
        )
        return sign_header(load_header(encoded).header, mallory.key).encoded

    asyncio.run(_refused_header(Kind.DENIED, forge))


def test_an_older_header_is_refused() -> None:
    async def play() -> None:
        store = MemoryStore()
        writer, reader = client(store, "writer"), client(store, "reader")
        await writer.start()
        await reader.start()
        ino = await put(writer, b"f", b"one")
        file = writer.core.nodes.at(ino).file
        old = store.state.header(file)
        assert old is not None
        await reader.lookup(ROOT_INO, b"f")
        handle = await writer.open(ino, RW)
        for text in (b"two", b"three"):
            await writer.write(handle, 0, text)
            await writer.flush(handle)
            await reader.getattr(ino)

        def tamper(message: Record, answer: Record) -> Record:
            if isinstance(message, m.GetHeaders) and isinstance(answer, m.Headers):
                return replace(answer, headers=(old.encoded,))
            return answer

        reader.core.headers.stale([file])
        store.tamper = tamper
        await refused(Kind.DAMAGED, reader.getattr(ino))
        store.tamper = lambda _, answer: answer
        await writer.release(handle)
        await writer.close()
        await reader.close()

    asyncio.run(play())


def test_a_commit_of_unknown_outcome_is_sent_again_and_happens_once() -> None:
    async def play() -> None:
        store = MemoryStore()
        volume = client(store)
        await volume.start()
        lost = [3]

        def tamper(message: Record, answer: Record) -> Record:
            if isinstance(message, m.Commit) and lost[0]:
                lost[0] -= 1
                raise Fault(Kind.UNREACHABLE, "the answer was lost")
            return answer

        store.tamper = tamper
        ino = await put(volume, b"f", b"content")
        assert await get(volume, ino) == b"content"
        signed = store.state.header(volume.core.nodes.at(ino).file)
        assert signed is not None
        assert signed.header.version == 1
        await volume.close()

    asyncio.run(play())


def test_staged_blobs_that_a_lost_leader_had_are_put_again() -> None:
    async def play() -> None:
        store = MemoryStore()
        volume = client(store)
        await volume.start()
        content = os.urandom(8 << 20)
        attributes, handle = await volume.create(ROOT_INO, b"f", MINE, RW)
        await volume.write(handle, 0, content)
        await asyncio.sleep(0.1)
        assert store.counts["PutBlobs"] >= len(content) // BATCH_BYTES
        store.blobs.clear()
        await volume.flush(handle)
        await volume.release(handle)
        volume.core.engine.fetcher.cache.bytes_max = 0
        assert await get(volume, attributes.ino) == content
        await volume.close()

    asyncio.run(play())
