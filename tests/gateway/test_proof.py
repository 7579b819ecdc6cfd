"""What a reader notices: altered, missing, reordered, doubled and unsigned entries."""

import random
from dataclasses import replace

import pytest

from blocktree.keys import Key
from blocktree_gateway.messages import Checkpoint, Clock, Entry, Lost, Reading, Start
from blocktree_gateway.stream.entries import (
    FIRST_PREV,
    Reader,
    entry_hash,
    open_entry,
    seal_entry,
    signed_bytes,
)
from blocktree_gateway.stream.proof import prove
from blocktree_gateway.tree.streamfile import Item

KEY = Key.load(bytes(31) + b"\7")
DEVICE = KEY.principal.id
SECRET = bytes(range(32))
READER = Reader(DEVICE, {1: SECRET}, KEY.principal)
COLUMNS = ("temperature °C -2",)


def stream(count: int, boot: int = 1, after: Entry | None = None) -> list[Entry]:
    """The entries of one boot: a start, then readings."""
    place = after.place if after else (0, 0)
    safe = entry_hash(after) if after else bytes(32)
    contents: list[Start | Reading] = [Start("app", bytes(8), COLUMNS, *place, safe)]
    contents += [Reading(1000 * n, 10_000 + 1000 * n, (2000 + n,)) for n in range(1, count)]
    entries: list[Entry] = []
    prev = FIRST_PREV
    for seq, content in enumerate(contents):
        entries.append(seal_entry(content, DEVICE, SECRET, 1, (boot, seq), prev))
        prev = entry_hash(entries[-1])
    return entries


def signed(entry: Entry, key: Key = KEY) -> Checkpoint:
    bare = Checkpoint(*entry.place, entry_hash(entry), 5, b"")
    return replace(bare, signature=key.sign(signed_bytes(bare, DEVICE)))


def test_a_whole_stream_holds_and_says_what_was_measured() -> None:
    entries = stream(61)
    proof = prove([*entries, signed(entries[-1])], READER)
    assert proof.holds
    assert len(proof.readings) == 60
    assert proof.signed_to == (1, 60)
    assert proof.told[5].columns == COLUMNS


def test_every_flipped_bit_of_an_entry_is_noticed_and_named() -> None:
    entries, dice = stream(6), random.Random(1)
    for _ in range(40):
        sealed = bytearray(entries[3].sealed)
        sealed[dice.randrange(len(sealed))] ^= 1 << dice.randrange(8)
        proof = prove(
            [*entries[:3], replace(entries[3], sealed=bytes(sealed)), *entries[4:]], READER
        )
        assert [fault.path for fault in proof.faults] == ["boot 1 seq 3"]


def test_a_missing_entry_is_a_gap_that_names_its_number() -> None:
    entries = stream(10)
    proof = prove([*entries[:4], *entries[5:]], READER)
    assert proof.gaps == [((1, 4), (1, 4))]
    assert proof.missing == 1
    assert proof.faults == []


def test_a_run_that_is_cut_off_at_the_beginning_is_a_gap_unless_only_the_end_was_asked_for() -> (
    None
):
    entries = stream(10)
    assert prove(entries[3:], READER).gaps == [((1, 0), (1, 2))]
    assert prove(entries[3:], READER, whole=False).holds


def test_entries_in_another_order_are_noticed() -> None:
    entries = stream(6)
    proof = prove([*entries[:2], entries[3], entries[2], *entries[4:]], READER)
    assert not proof.holds


def test_an_entry_that_came_twice_counts_once() -> None:
    entries = stream(6)
    proof = prove([*entries[:4], entries[3], *entries[4:]], READER)
    assert proof.holds
    assert len(proof.readings) == 5


def test_who_has_the_reading_secret_but_not_the_devices_key_is_found_out_by_its_signature() -> None:
    """A gateway whose user may read could seal another chain; it cannot sign for the device."""
    entries = stream(6)
    checkpoint = signed(entries[-1])
    forged: list[Entry] = entries[:3]
    prev = entry_hash(forged[-1])
    for entry in entries[3:]:
        plain = open_entry(entry, DEVICE, SECRET)
        del plain
        lie = Reading(1, 2, (9999,))
        forged.append(seal_entry(lie, DEVICE, SECRET, 1, entry.place, prev))
        prev = entry_hash(forged[-1])
    proof = prove([*forged, checkpoint], READER)
    assert [fault.what for fault in proof.faults] == [
        "the device signed another entry: it was replaced"
    ]
    other = Key.load(bytes(31) + b"\x09")
    resigned: list[Item] = [*forged, signed(forged[-1], other)]
    assert "not signed by the device" in prove(resigned, READER).faults[0].what


def test_withheld_entries_show_when_a_signature_speaks_of_them() -> None:
    entries = stream(6)
    proof = prove([*entries[:4], signed(entries[5])], READER)
    assert proof.gaps == [((1, 4), (1, 5))]


def test_what_a_device_says_it_lost_is_no_gap() -> None:
    entries = stream(10)
    lost = seal_entry(Lost(1, 3, 1, 5), DEVICE, SECRET, 1, (1, 10), entry_hash(entries[-1]))
    proof = prove([*entries[:3], *entries[6:], lost], READER)
    assert proof.gaps == []
    assert proof.lost == [((1, 3), (1, 5))]
    partly = prove([*entries[:2], *entries[6:], lost], READER)
    assert partly.gaps == [((1, 2), (1, 2))]


def test_the_end_of_a_boot_is_a_gap_only_as_far_as_the_next_boot_says_it_was_safe() -> None:
    first = stream(10)
    assert prove([*first[:8], *stream(3, 2, after=first[7])], READER).holds
    cut = prove([*first[:6], *stream(3, 2, after=first[7])], READER)
    assert cut.gaps == [((1, 6), (1, 7))]
    other = stream(10, boot=1)
    lied = replace(other[7], sealed=first[6].sealed)
    assert not prove([*first[:8], *stream(3, 2, after=lied)], READER).holds


def test_readings_before_the_clock_was_set_get_their_time_when_it_is() -> None:
    start = seal_entry(
        Start("", bytes(8), (), 0, 0, bytes(32)), DEVICE, SECRET, 1, (1, 0), FIRST_PREV
    )
    early = seal_entry(Reading(500, None, (1,)), DEVICE, SECRET, 1, (1, 1), entry_hash(start))
    clock = seal_entry(Clock(2000, 1_000_002_000), DEVICE, SECRET, 1, (1, 2), entry_hash(early))
    proof = prove([start, early, clock], READER)
    assert proof.readings[0].time_ms == 1_000_000_500


@pytest.mark.parametrize("epoch", [2, 65535])
def test_entries_of_an_epoch_without_a_secret_are_told_not_guessed(epoch: int) -> None:
    entry = seal_entry(
        Start("", bytes(8), (), 0, 0, bytes(32)), DEVICE, SECRET, epoch, (1, 0), FIRST_PREV
    )
    proof = prove([entry], READER)
    assert "no reading secret" in proof.faults[0].what
