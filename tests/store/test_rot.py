"""Stories of rot: a node loses power, one bit of its disk flips anywhere, and it comes back."""

import os
import random
import shutil
from pathlib import Path as File

import pytest

from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId, digest_of
from blocktree.node import Node
from blocktree.sectors.header import SignedHeader
from blocktree.store import messages as m
from blocktree.store.scrub_messages import Phase
from store.spoiled import flip, heads, is_sound, lose_power
from store.world import Client, World, in_loop, until, world

ROUNDS = 4


@pytest.mark.parametrize("seed", range(2))
@in_loop
async def test_one_bit_anywhere_costs_nothing_that_was_acknowledged(
    tmp_path: File, seed: int
) -> None:
    dice = random.Random(seed)
    async with world(tmp_path) as place:
        ann = await place.client()
        kept: dict[SignedHeader, bytes] = {}
        for _ in range(ROUNDS):
            await write_some(ann, dice, kept)
            if dice.random() < 0.5:
                for node in place.nodes.values():
                    await node.store.chores.checkpoints.write()
            await place.settled()
            name = dice.choice(list(place.nodes))
            spoil(await lose_power(place, name), dice)
            await check(place, await place.start(name), kept)
        for signed in kept:
            assert (await ann.read(signed.header.file)).headers == (signed.encoded,)


async def write_some(ann: Client, dice: random.Random, kept: dict[SignedHeader, bytes]) -> None:
    for _ in range(6):
        blob = os.urandom(dice.choice([500, 20_000, 70_000]))
        kept[await ann.write(FileId(os.urandom(16)), blob=blob)] = blob


def spoil(root: File, dice: random.Random) -> None:
    """A bit of a segment, mostly; or the whole index."""
    if dice.random() < 0.2:
        shutil.rmtree(root / "index")
        return
    path = dice.choice(sorted((root / "log").glob("segment-*")))
    offset = dice.randrange(len(path.read_bytes().rstrip(b"\0")))  # not behind the end
    if dice.random() < 0.5:  # entries and heads are small: take care that they are met
        offset = dice.choice([head.offset for at, head in heads(root) if at == path])
        offset += dice.randrange(64)
    flip(path, offset, 1 << dice.randrange(8))


async def check(place: World, node: Node, kept: dict[SignedHeader, bytes]) -> None:
    """The node votes again, has everything, and a scrub leaves nothing to repair."""
    doubt, scrubber = node.store.replica.doubt, node.store.chores.scrubber
    await until(lambda: not doubt.active and place.voters() == 3)
    await place.settled()
    scrubber.begin()
    await until(lambda: scrubber.report().phase is Phase.IDLE)
    assert scrubber.left == 0, scrubber.report()
    for blob in kept.values():
        assert is_sound(node.disk, digest_of(blob))
    tables = [
        list(each.store.replica.tree.overlay.items(b"h", b"", 10_000))
        for each in place.nodes.values()
    ]
    assert tables[0] == tables[1] == tables[2]


@in_loop
async def test_a_blob_that_comes_a_moment_late_is_not_called_damaged(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was looked for before it came, and judged when its entry was applied."""
    async with world(tmp_path, 1) as place:
        (node,) = place.nodes.values()
        ann = await place.client()
        signed = await ann.write(FileId(b"f" * 16), blob=b"blob" * 1000)
        digest = Digest(signed.header.root)
        read, early = node.disk.read_blob, [digest]

        def too_early(wanted: Digest) -> memoryview:
            if wanted in early:
                early.remove(wanted)
                raise Fault(Kind.NOT_FOUND, "not here yet")
            return read(wanted)

        monkeypatch.setattr(node.disk, "read_blob", too_early)
        message = m.GetBlobs((digest,))
        assert (await ann.ask_node(node.path, message, m.Blobs)).lengths == (0,)
        assert (await ann.ask_node(node.path, message, m.Blobs)).lengths == (4000,)
        assert "damaged" not in caplog.text
        assert not node.store.chores.backfill.damaged
