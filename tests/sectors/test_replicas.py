"""Replicas that apply the same commands are equal, whatever they remember."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from blocktree.caps import Right
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, member_of
from blocktree.names import ROOT_FILE, FileId
from blocktree.sectors import snapshot
from blocktree.sectors.header import FileKind
from blocktree.sectors.state import SectorState
from blocktree.sectors.table import MemoryTable, Overlay
from blocktree.sectors.transaction import Change, Command, Commit, Expire, Join, Remove, Transaction
from blocktree.wire import encode
from sectors.house import ANNA, BOB, OWNER, House, access_for, bob_may, file_id

FILES = [file_id(number) for number in range(1, 7)]
EDITS = st.tuples(
    st.sampled_from(FILES),
    st.sampled_from(["create", "mkdir", "share", "edit", "move", "delete", "stale"]),
    st.sampled_from([ROOT_FILE, *FILES]),
)
STEPS = st.one_of(
    st.tuples(st.lists(EDITS, min_size=1, max_size=3), st.sampled_from([ANNA, BOB, OWNER])),
    st.sampled_from(["expire", "remove", "join", "again"]),
)


class Replicas:
    """One that keeps running, and one that forgets, restores snapshots and checkpoints."""

    def __init__(self) -> None:
        self.house = House()
        self.below = MemoryTable(dict(self.house.table.items(b"", b"", 1 << 20)))
        self.overlay = Overlay(self.below)
        self.other = SectorState(self.overlay)
        self.last: Command = Expire(0)

    def apply(self, command: Command) -> None:
        self.last = command
        first = self.house.apply(command)
        assert self.other.apply(self.house.index, command) == first

    def checkpoint(self) -> None:
        for key, value in self.overlay.take().items():
            if value is None:
                self.below.delete(key)
            else:
                self.below.put(key, value)
        self.overlay.settle()

    def restore(self, bytes_max: int) -> None:
        table, after, last = MemoryTable(), b"", False
        while not last:
            items, last = snapshot.piece(self.overlay, after, bytes_max)
            after = snapshot.restore(table, items, after)
        self.below = table
        self.overlay = Overlay(table)
        self.other = SectorState(self.overlay)

    def compare(self) -> None:
        limit = 1 << 20
        assert self.overlay.items(b"", b"", limit) == self.house.table.items(b"", b"", limit)


def change(house: House, file: FileId, verb: str, place: FileId, by: Credential) -> Change:
    fields: dict[str, Any] = {"parent": place} if place != file else {}
    exists = house.state.header(file) is not None
    if not exists or verb == "stale":
        if verb == "share":
            fields["access"] = access_for(file, *bob_may(Right.WRITE))
        make = house.mkdir if verb in {"mkdir", "share", "move"} else house.create
        return make(file, by=by, **fields)
    if verb == "delete":
        return house.delete(file)
    return house.edit(file, by=by, **(fields if verb == "move" else {"mode": len(verb)}))


@settings(max_examples=80)
@given(
    st.lists(STEPS, min_size=3, max_size=30),
    st.integers(0, 24),
    st.sampled_from([1, 500, 1 << 20]),
    st.sampled_from(["restore", "checkpoint", "reload"]),
)
def test_replicas_stay_equal_through_snapshots_and_checkpoints(
    steps: Sequence[Any], middle: int, bytes_max: int, event: str
) -> None:
    both = Replicas()
    for number, step in enumerate(steps):
        if number == middle:
            match event:
                case "restore":
                    both.restore(bytes_max)
                case "checkpoint":
                    both.checkpoint()
                case _:
                    both.other.reload()
        match step:
            case "expire":
                both.apply(Expire(number))
            case "remove":
                both.apply(Remove(BOB.principal, number))
            case "join":
                both.apply(Join(encode(member_of(BOB.identity)), number))
            case "again":
                both.apply(both.last)
            case (edits, by):
                changes = {file: change(both.house, file, v, p, by) for file, v, p in edits}
                transaction = encode(Transaction(tuple(changes.values())))
                both.apply(Commit(transaction, number, by.principal))
            case _:
                raise AssertionError(step)
    both.compare()
    check_invariants(both.house)


def check_invariants(house: House) -> None:
    """What `state` and `retention` promise, read from the bare table."""
    table = house.table
    for key, _ in table.items(b"h", b"", 1 << 20):
        file = FileId(key[1:])
        header = house.header(file)
        if header.kind is FileKind.DIRECTORY and file != ROOT_FILE:
            way = house.state.rights
            try:
                assert way.way_up(file)[-1].file == ROOT_FILE
            except Fault as fault:
                assert fault.kind is Kind.NOT_FOUND, "its directory was deleted"  # noqa: PT017
        versions = [int.from_bytes(k[-8:]) for k, _ in table.items(b"v" + file, b"", 1 << 20)]
        assert versions == list(range(header.version - len(versions), header.version))
    queued = sorted(key[9:] for key, _ in table.items(b"x", b"", 1 << 20))
    assert queued == [key[1:] for key, _ in table.items(b"v", b"", 1 << 20)]
    for key, row in table.items(b"d", b"", 1 << 20):
        assert table.get(b"h" + key[1:]) is None
        assert table.get(b"v" + key[1:] + row) is not None


class OverlayMachine(RuleBasedStateMachine):
    """An overlay reads like the map it stands for, whatever was saved meanwhile."""

    keys = st.sampled_from([bytes([a, b]) for a in b"ab" for b in b"xyz"])

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[bytes, bytes] = {}
        self.below = MemoryTable()
        self.overlay = Overlay(self.below)
        self.saving: Mapping[bytes, bytes | None] | None = None

    @rule(key=keys, value=st.binary(min_size=1, max_size=2))
    def put(self, key: bytes, value: bytes) -> None:
        self.model[key] = value
        self.overlay.put(key, value)

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.model.pop(key, None)
        self.overlay.delete(key)

    @rule()
    def take(self) -> None:
        self.saving = self.overlay.take()

    @rule()
    def save(self) -> None:
        for key, value in (self.saving or {}).items():
            if value is None:
                self.below.delete(key)
            else:
                self.below.put(key, value)
        if self.saving is not None:
            self.overlay.settle()
        self.saving = None

    @rule(prefix=st.sampled_from([b"", b"a", b"b", b"c"]), after=keys, limit=st.integers(1, 7))
    def items(self, prefix: bytes, after: bytes, limit: int) -> None:
        want = [(k, v) for k, v in sorted(self.model.items()) if k.startswith(prefix)]
        assert self.overlay.items(prefix, b"", limit) == want[:limit]
        assert self.overlay.items(prefix, after, limit) == [r for r in want if r[0] > after][:limit]

    @invariant()
    def agrees(self) -> None:
        keys = [b"ax", b"by", b"cz", b"by"]
        assert [self.overlay.get(key) for key in keys] == [self.model.get(key) for key in keys]
        assert self.overlay.get_many(keys) == [self.model.get(key) for key in keys]


TestOverlay = OverlayMachine.TestCase


def test_a_piece_of_a_snapshot_out_of_order_is_refused_whole() -> None:
    table = MemoryTable()
    for items, after in (([(b"b", b""), (b"a", b"")], b""), ([(b"a", b"")], b"a")):
        try:
            snapshot.restore(table, items, after)
        except Fault as fault:
            assert fault.kind is Kind.MALFORMED  # noqa: PT017
        else:
            raise AssertionError("accepted")
    assert table.items() == []


def test_pieces_are_bounded_and_resume_anywhere() -> None:
    rows = {bytes([n]): bytes(100) for n in range(50)}
    table = MemoryTable(rows)
    items, last = snapshot.piece(table, b"", 1000)
    assert (len(items), last) == (9, False)
    items, last = snapshot.piece(table, bytes([48]), 10)
    assert (items, last) == ([(bytes([49]), bytes(100))], True)
    assert snapshot.piece(table, bytes([49])) == ([], True)
