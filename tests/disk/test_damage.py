"""Bytes that rot are told from writes that were torn, and never read as if they were right."""

import random
from functools import partial
from typing import Any

import pytest

from blocktree.disk import Batch, Disk, MemoryIndex, SimulatedFiles, identity
from blocktree.disk.catalogue import Catalogue
from blocktree.disk.checkpoint import CHECKPOINT_KEY
from blocktree.disk.index import Space
from blocktree.disk.log import decode_row, encode_row
from blocktree.disk.segment import HEAD_SIZE, VERSION, Key, Place, key_of, parse_head
from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from blocktree.raft import HardState
from disk.rig import (
    KEEPER,
    ME,
    SMALL,
    Run,
    blob_of,
    entry_of,
    fault_of,
    log_of,
    mark_of,
    open_disk,
    rebuild_disk,
)

KEY: Key = key_of(b"d" * 16)


def filled(seed: int, steps: int) -> tuple[SimulatedFiles, MemoryIndex, Run]:
    files, index = SimulatedFiles(), MemoryIndex()
    run = Run(open_disk(files, index), seed)
    for _ in range(steps):
        run.step()
    run.append()
    run.sync()
    return files, index, run


def judge(disk: Disk, run: Run) -> None:
    """Nothing that was acknowledged is silently missing or wrong."""
    truth = run.truth
    assert disk.saved().hard_state == truth.hard_state
    assert (disk.log.first_index, disk.log.last_index) == (
        truth.log[0],
        truth.log[0] + len(truth.log[1]) - 1,
    )
    fault = fault_of(lambda: log_of(disk))
    assert log_of(disk) == truth.log if fault is None else fault.kind is Kind.DAMAGED
    for digest, payload in truth.blobs.items():
        fault = fault_of(partial(disk.read_blob, digest, verify=True))
        if fault is None:
            assert disk.read_blob(digest, verify=True) == payload
        else:
            assert fault.kind is Kind.DAMAGED
            assert disk.missing([digest]) == [digest]


def add_opened(opened: list[Disk], files: SimulatedFiles, index: MemoryIndex) -> None:
    opened.append(open_disk(files, index))


@pytest.mark.parametrize("seed", range(3))
def test_one_flipped_bit_anywhere_is_never_a_shorter_log_or_a_wrong_byte(seed: int) -> None:
    files, index, run = filled(seed, 40)
    dice = random.Random(seed)
    refused = 0
    for name, contents in files.everything().items():
        if not name.startswith("segment"):
            continue
        for offset in range(dice.randint(0, 52), len(contents), 53):
            image = SimulatedFiles(files.everything())
            image.flip(name, offset, 1 << dice.randint(0, 7))
            opened: list[Disk] = []
            fault = fault_of(partial(add_opened, opened, image, index.copy()))
            if fault is None:
                judge(opened[0], run)
            else:
                assert (fault.kind, fault.path) == (Kind.DAMAGED, name)
                assert "offset" in fault.what
                refused += 1
    assert refused > 5


def test_a_flip_in_the_last_record_is_not_taken_for_a_torn_write() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(1), entry_of(2, 1, b"acknowledged")]))
    disk.sync()
    image = SimulatedFiles(files.everything())
    image.flip("segment-00000001", len(files.contents("segment-00000001")) - 3)
    with pytest.raises(Fault, match="torn in an unusual way") as caught:
        open_disk(image, index)
    assert caught.value.kind is Kind.DAMAGED
    salvaged = open_disk(image, index, salvage=True)
    assert salvaged.damage is not None
    assert (salvaged.damage.certain, salvaged.damage.log_from) == (False, 2)


@pytest.mark.parametrize(("part", "log_from"), [("head", 1), ("payload", 3)])
def test_salvage_keeps_what_is_sound_and_remembers_until_repaired(part: str, log_from: int) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blobs = [blob_of(b"%d" % n * 400) for n in range(6)]
    for at in range(6):
        disk.append(Batch(blobs=[blobs[at]], entries=[entry_of(at + 1)]))
        disk.sync()
    where = place_of_entry(files, 3)
    files.flip("segment-00000001", where + (9 if part == "head" else HEAD_SIZE))
    disk = open_disk(files, index, salvage=True)
    damage = disk.damage
    assert damage is not None
    assert (damage.segment, damage.offset) == (1, where)
    assert (damage.certain, damage.log_from) == (True, log_from)
    assert log_of(disk) == (1, (entry_of(1), entry_of(2)))
    assert disk.missing([digest for digest, _ in blobs]) == []
    with pytest.raises(Fault, match="may not vote"):
        open_disk(files, index)
    disk.append(Batch(entries=[entry_of(n, 2) for n in (3, 4, 5, 6)]))
    disk.checkpoint({}, mark_of(2))
    assert open_disk(files, index, salvage=True).damage == damage
    disk = open_disk(files, index, salvage=True)
    disk.repaired()
    disk = open_disk(files, index)
    assert disk.damage is None
    assert disk.log.last_index == 6


def place_of_entry(files: SimulatedFiles, index: int) -> int:
    raw = files.contents("segment-00000001")
    for offset in range(len(raw)):
        head = parse_head(raw[offset : offset + HEAD_SIZE], KEY, 1, offset)
        if head is not None and head.kind == 3 and head.index == index:
            return offset
    raise AssertionError


def test_a_damaged_blob_alone_does_not_cost_the_vote() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    (one, first), (two, second) = blob_of(b"1" * 2000), blob_of(b"2" * 2000)
    disk.append(Batch(blobs=[(one, first)], entries=[entry_of(1)]))
    disk.sync()
    disk.append(Batch(blobs=[(two, second)], entries=[entry_of(2)]))
    disk.sync()
    files.flip("segment-00000001", files.contents("segment-00000001").index(first) + 77)
    disk = open_disk(files, index)
    assert disk.damage is None
    assert disk.log.last_index == 2
    assert disk.missing([one, two]) == [one]
    disk.checkpoint({}, mark_of(0))
    disk = open_disk(files, index)
    assert disk.missing([one, two]) == [one]
    disk.append(Batch(blobs=[(one, first)]))
    disk.sync()
    for here in (disk, open_disk(files, index)):
        assert here.missing([one, two]) == []
        assert here.read_blob(one, verify=True) == first


def test_scrubbing_finds_what_rots_after_the_checkpoint() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blobs = [blob_of(b"%d" % n * 900) for n in range(30)]
    disk.append(Batch(blobs=blobs))
    disk.checkpoint({}, mark_of(0))
    bad = blobs[7]
    name = "segment-00000001"
    files.flip(name, files.contents(name).index(bad[1]) + 5)
    damaged: list[Digest] = []
    after: Digest | None = None
    seen = steps = 0
    while steps == 0 or after is not None:
        step = disk.scrub(after, 5000)
        assert step.size < 5000 + 2000
        seen, damaged, after = seen + step.blobs, [*damaged, *step.damaged], step.after
        steps += 1
    assert (seen, damaged) == (30, [bad[0]])
    with pytest.raises(Fault) as caught:
        disk.read_blob(bad[0])
    assert caught.value.kind is Kind.DAMAGED
    assert steps > 5
    assert disk.missing([bad[0]]) == [bad[0]]
    disk.checkpoint({}, mark_of(0))
    again = open_disk(files, index)
    assert again.missing([bad[0]]) == [bad[0]]
    assert again.scrub(None, 1 << 20).damaged == (bad[0],)
    with pytest.raises(Fault) as caught:
        again.read_blob(bad[0])
    assert caught.value.kind is Kind.DAMAGED
    again.append(Batch(blobs=[bad]))
    again.checkpoint({}, mark_of(0))
    assert again.scrub(None, 1 << 20).damaged == ()


def test_a_blob_that_was_deleted_while_it_was_found_damaged_stays_deleted() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    digest, payload = blob_of(b"b" * 900)
    disk.append(Batch(blobs=[(digest, payload)]))
    disk.checkpoint({}, mark_of(0))
    files.flip("segment-00000001", files.contents("segment-00000001").index(payload))
    where = disk._catalogue.find(digest)
    assert where is not None
    disk.delete_blobs([digest])
    disk._catalogue.lost(
        digest, where, Fault(Kind.DAMAGED, "rotten")
    )  # another thread says so only now
    disk.checkpoint({}, mark_of(0))
    fault = fault_of(lambda: disk.read_blob(digest))
    assert fault is not None
    assert fault.kind is Kind.NOT_FOUND
    assert disk.scrub(None, 1 << 20).damaged == ()


@pytest.mark.parametrize("before", [True, False])
def test_a_blob_that_was_written_again_while_it_was_found_damaged_stays(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk's thread writes it just before or after the scrubbing one says so."""
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    blob = blob_of(b"b" * 900)
    disk.append(Batch(blobs=[blob]))
    disk.checkpoint({}, mark_of(0))
    name = "segment-00000001"
    files.flip(name, files.contents(name).index(blob[1]))
    assert fault_of(lambda: disk.read_blob(blob[0], verify=True)) is not None
    lost = Catalogue.lost

    def late(*arguments: Any) -> None:
        if before:
            disk.append(Batch(blobs=[blob]))
        lost(*arguments)
        if not before:
            disk.append(Batch(blobs=[blob]))

    monkeypatch.setattr(Catalogue, "lost", late)
    disk.scrub(None, 1 << 20)
    disk.checkpoint({}, mark_of(0))
    assert disk.read_blob(blob[0], verify=True) == blob[1]
    assert disk.missing([blob[0]]) == []


def test_a_lost_segment_is_named() -> None:
    files, index, run = filled(1, 120)
    run.checkpoint()
    names = [name for name in files.names() if name.startswith("segment")]
    contents = files.everything()
    del contents[names[0]]
    with pytest.raises(Fault) as caught:
        open_disk(SimulatedFiles(contents), index.copy())
    assert caught.value.kind is Kind.DAMAGED
    assert caught.value.path == names[0]
    disk = open_disk(SimulatedFiles(contents), index.copy(), salvage=True)
    assert disk.damage is not None
    lost = disk.missing(run.truth.blobs)
    for digest in set(run.truth.blobs) - set(lost):
        assert disk.read_blob(digest, verify=True) == run.truth.blobs[digest]


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_segment_that_was_cut_short_is_named(checkpointed: bool) -> None:
    files, index, run = filled(1, 120)
    if checkpointed:
        run.checkpoint()
        run.append()
        run.disk.sync()
    else:
        index = MemoryIndex()  # everything is replayed
    name = [name for name in files.names() if name.startswith("segment")][2]
    contents = files.everything()
    for size in (len(contents[name]) - 1, len(contents[name]) // 2):
        image = SimulatedFiles({**contents, name: contents[name][:size]})
        fault = fault_of(partial(open_disk, image, index.copy()))
        assert fault is not None
        assert (fault.kind, fault.path) == (Kind.DAMAGED, name)


@pytest.mark.parametrize("more", [-1, -3000, 500])
def test_a_segment_of_the_wrong_length_is_damage_until_repaired(more: int) -> None:
    files, index, run = filled(1, 120)
    run.checkpoint()
    name = next(name for name in files.names() if name.startswith("segment"))
    contents = files.everything()
    content = contents[name][:more] if more < 0 else contents[name] + bytes(more)
    image = SimulatedFiles({**contents, name: content})
    for _ in range(2):  # a crash before the repair is over begins it again
        disk = open_disk(image, index, salvage=True)
        assert disk.damage is not None
    disk.forget_log()
    disk.append(Batch(entries=[entry_of(disk.saved().mark.index + 1, 99)]))
    disk.repaired()
    disk = open_disk(image, index)
    assert not disk.saved().in_doubt
    assert disk.log.last_index == disk.saved().mark.index + 1
    while not disk.reclaim(10_000).idle:
        disk.checkpoint({}, disk.saved().mark)
    assert open_disk(image, index).damage is None


def test_a_lost_index_is_not_silently_an_empty_one() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(n) for n in range(1, 9)]))
    disk.checkpoint({b"a": b"1"}, mark_of(6))
    disk.compact(mark_of(5))
    disk.sync()
    with pytest.raises(Fault, match="index is lost"):
        open_disk(files, MemoryIndex())
    disk = open_disk(files, MemoryIndex(), salvage=True)
    assert disk.damage is not None
    assert (disk.log.first_index, disk.log.last_index) == (6, 8)
    assert disk.saved().mark == mark_of(5)


def test_without_a_dropped_log_a_lost_index_costs_nothing() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(blobs=[blob_of(b"b")], entries=[entry_of(1)], stamp=5))
    disk.sync()
    disk = open_disk(files, MemoryIndex())
    assert disk.damage is None
    assert log_of(disk) == (1, (entry_of(1),))
    assert disk.staged(before=6) == [blob_of(b"b")[0]]


def test_an_old_copy_of_the_index_never_gives_a_wrong_byte() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    run = Run(open_disk(files, index), 4)
    for _ in range(60):
        run.step()
    run.checkpoint()
    old = index.copy()
    for _ in range(200):
        run.step()
    run.sync()
    disk = open_disk(SimulatedFiles(files.everything()), old, salvage=True)
    assert disk.damage is not None
    for digest in set(run.truth.every) - set(disk.missing(run.truth.every)):
        assert disk.read_blob(digest, verify=True) == run.truth.every[digest]


def test_a_copy_of_a_segment_inside_a_blob_does_not_pass_for_records() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(1), entry_of(2)]))
    disk.sync()
    inner = files.contents("segment-00000001")
    disk.append(Batch(blobs=[blob_of(inner * 3)], entries=[entry_of(3)]))
    torn = files.crash(lambda _, block: block != len(inner) // 512, whole_size=True)
    again = open_disk(torn, index)
    assert again.log.last_index == 2


def test_a_damaged_identity_is_said() -> None:
    files = SimulatedFiles()
    open_disk(files, MemoryIndex())
    files.flip("identity", 80)
    with pytest.raises(Fault) as caught:
        open_disk(files, MemoryIndex())
    assert (caught.value.kind, caught.value.path) == (Kind.DAMAGED, "identity")


@pytest.mark.parametrize(
    ("version", "next_step"), [(VERSION - 1, "make the node anew"), (VERSION + 1, "update")]
)
def test_a_disk_of_another_format_is_refused_and_what_to_do_said(
    version: int, next_step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = SimulatedFiles()
    with monkeypatch.context() as patch:
        patch.setattr(identity, "VERSION", version)
        open_disk(files, MemoryIndex())
    before = files.everything()
    with pytest.raises(Fault, match=next_step) as caught:
        open_disk(files, MemoryIndex())
    assert caught.value.kind is Kind.UNSUPPORTED
    assert files.everything() == before


def test_segments_without_their_identity_are_refused() -> None:
    files, _, _ = filled(1, 20)
    contents = files.everything()
    del contents["identity"]
    with pytest.raises(Fault, match="no identity"):
        Disk.open(SimulatedFiles(contents), MemoryIndex(), SMALL, KEEPER)


def test_rebuilding_over_damage_keeps_the_rest() -> None:
    files, _, run = filled(9, 80)
    names = [name for name in files.names() if name.startswith("segment")]
    image = SimulatedFiles(files.everything())
    image.flip(names[1], 200, 0xFF)
    disk = rebuild_disk(image, MemoryIndex())
    kept = set(run.truth.blobs) - set(disk.missing(run.truth.blobs))
    assert len(kept) >= len(run.truth.blobs) - 2
    for digest in kept:
        assert disk.read_blob(digest, verify=True) == run.truth.blobs[digest]


def damaged_in_the_middle() -> tuple[SimulatedFiles, MemoryIndex]:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    for at in range(1, 7):
        disk.append(Batch(entries=[entry_of(at)]))
        disk.sync()
        if at == 2:
            disk.checkpoint({b"k": b"v"}, mark_of(2))
    files.flip("segment-00000001", place_of_entry(files, 4) + HEAD_SIZE)
    return files, index


def test_a_log_in_doubt_is_forgotten_behind_the_mark_and_received_anew() -> None:
    files, index = damaged_in_the_middle()
    disk = open_disk(files, index, salvage=True)
    assert disk.saved().in_doubt
    disk.forget_log()
    assert log_of(disk) == (3, ())
    assert disk.table_get(b"k") == b"v"
    for again in (index, MemoryIndex()):  # with the index, and from the segments alone
        disk = open_disk(files, again, salvage=True)
        assert disk.damage is not None
        assert log_of(disk) == (3, ())
    disk = open_disk(files, index, salvage=True)
    disk.append(Batch(entries=[entry_of(3, 2), entry_of(4, 2)]))
    disk.repaired()
    disk = open_disk(files, index)
    assert not disk.saved().in_doubt
    assert log_of(disk) == (3, (entry_of(3, 2), entry_of(4, 2)))
    with pytest.raises(Fault, match="sound"):
        disk.forget_log()


def test_a_log_whose_table_is_lost_begins_at_nothing() -> None:
    files, index = damaged_in_the_middle()
    disk = open_disk(files, index, salvage=True)
    disk.compact(mark_of(2))
    disk.sync()
    index = MemoryIndex()
    disk = rebuild_disk(files, index)
    assert disk.damage is not None
    assert disk.damage.table_lost
    disk.forget_log()
    assert disk.saved().mark.index == 0
    disk.append(Batch(entries=[entry_of(1)]))
    disk.repaired()
    disk = open_disk(files, index)
    assert log_of(disk) == (1, (entry_of(1),))
    assert disk.saved().mark.index == 0


def test_an_index_that_points_to_the_wrong_entry_is_damage() -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(at) for at in range(1, 5)]))
    disk.checkpoint({}, mark_of(2))
    key = (3).to_bytes(8, "big")
    term, where = decode_row(3, index.get(Space.LOG, key) or b"")
    index.commit({Space.LOG: {key: encode_row(3, term, Place(where ^ 1 << 32))}})
    with pytest.raises(Fault, match="may not vote"):
        open_disk(files, index)
    disk = open_disk(files, index, salvage=True)
    assert disk.log.last_index == 2


@pytest.mark.parametrize("space", [Space.STATE, Space.SEGMENTS])
def test_no_bit_of_a_checkpoint_or_of_a_segments_size_may_rot(space: Space) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(hard_state=HardState(7, ME), entries=[entry_of(1)]))
    disk.checkpoint({}, mark_of(1))
    key = CHECKPOINT_KEY if space is Space.STATE else (1).to_bytes(4, "big")
    row = index.get(space, key)
    assert row is not None
    for at in range(8 * len(row)):
        bad = bytearray(row)
        bad[at // 8] ^= 1 << at % 8
        spoiled = index.copy()
        spoiled.commit({space: {key: bytes(bad)}})
        with pytest.raises(Fault, match="the index has") as caught:
            open_disk(files, spoiled, salvage=True)
        assert caught.value.kind is Kind.DAMAGED


@pytest.mark.parametrize("space", [Space.LOG, Space.BLOBS])
def test_no_bit_of_an_entrys_or_a_blobs_row_may_rot(space: Space) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    digest, payload = blob_of(b"a blob")
    disk.append(Batch(blobs=[(digest, payload)], entries=[entry_of(1)]))
    disk.checkpoint({}, mark_of(1))
    key = (1).to_bytes(8, "big") if space is Space.LOG else digest
    row = index.get(space, key) or b""
    for at in range(8 * len(row)):
        bad = bytearray(row)
        bad[at // 8] ^= 1 << at % 8
        spoiled = index.copy()
        spoiled.commit({space: {key: bytes(bad)}})
        if space is Space.LOG:
            with pytest.raises(Fault, match="the index has an unreadable row for entry 1"):
                open_disk(files, spoiled, salvage=True)
        else:
            assert open_disk(files, spoiled).missing([digest]) == [digest]


@pytest.mark.parametrize("errors", [1, 7, 1000])
def test_a_device_that_fails_now_and_then_has_lost_nothing(errors: int) -> None:
    files, index = SimulatedFiles(), MemoryIndex()
    disk = open_disk(files, index)
    disk.append(Batch(entries=[entry_of(at) for at in range(1, 5)]))
    disk.checkpoint({}, mark_of(2))
    left = errors

    def before(verb: str, name: str) -> None:
        nonlocal left
        if verb == "read" and name.startswith("segment-") and left:
            left -= 1
            raise OSError(5, "input/output error")

    files.before = before
    if errors < 1000:
        assert open_disk(files, index).log.last_index == 4
    else:
        with pytest.raises(Fault, match="may not vote"):
            open_disk(files, index)
