"""The lock table keeps POSIX's promises about ranges and owners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.store.locks import GRACE_SECONDS, LockTable, Waiter
from blocktree.store.messages import SESSION_SECONDS, HeldLock, LockKind, LockRange

FILE = FileId(bytes(15) + b"\1")
END = (1 << 63) - 1
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def lock(
    kind: LockKind, start: int = 0, end: int = END, owner: int = 1, *, flock: bool = False
) -> LockRange:
    return LockRange(kind, start, end, owner, 100, flock)


def read(start: int = 0, end: int = END, owner: int = 1) -> LockRange:
    return lock(LockKind.READ, start, end, owner)


def write(start: int = 0, end: int = END, owner: int = 1) -> LockRange:
    return lock(LockKind.WRITE, start, end, owner)


@pytest.fixture
def table() -> LockTable:
    return LockTable(1, -GRACE_SECONDS)


def test_readers_share_and_a_writer_excludes(table: LockTable) -> None:
    assert table.take(A, FILE, read(), 0) is None
    assert table.take(B, FILE, read(), 0) is None
    assert table.take(C, FILE, write(), 0) == read()
    assert table.probe(C, FILE, write()) == read()
    assert table.probe(C, FILE, read()) is None


def test_ranges_that_do_not_meet_do_not_conflict(table: LockTable) -> None:
    assert table.take(A, FILE, write(0, 9), 0) is None
    assert table.take(B, FILE, write(10, 19), 0) is None
    assert table.take(B, FILE, write(9, 9), 0) == write(0, 9)


def test_an_owner_replaces_and_splits_its_own_range(table: LockTable) -> None:
    table.take(A, FILE, write(0, 99), 0)
    table.take(A, FILE, read(40, 59), 0)
    assert table.probe(B, FILE, read(40, 59)) is None
    assert table.probe(B, FILE, read(39, 39)) == write(0, 39)
    assert table.probe(B, FILE, read(60, 60)) == write(60, 99)
    table.free(A, FILE, write(), 0)
    assert len(table) == 0


def test_flock_and_fcntl_locks_do_not_see_each_other(table: LockTable) -> None:
    whole = lock(LockKind.WRITE, flock=True)
    assert table.take(A, FILE, whole, 0) is None
    assert table.take(B, FILE, write(), 0) is None
    assert table.take(C, FILE, whole, 0) == whole


def test_waiters_are_granted_in_order_and_a_writer_does_not_starve(table: LockTable) -> None:
    table.take(A, FILE, write(), 0)
    table.wait(Waiter(1), B, FILE, write())
    table.wait(Waiter(2), C, FILE, read())
    assert table.free(A, FILE, write(), 0).granted == (1,)
    assert table.free(B, FILE, write(), 0).granted == (2,)


def test_unlocking_withdraws_the_wait(table: LockTable) -> None:
    table.take(A, FILE, write(), 0)
    table.wait(Waiter(1), B, FILE, write(0, 9))
    assert table.free(B, FILE, write(0, 9), 0).withdrawn == (1,)
    assert table.free(A, FILE, write(), 0).granted == ()


def test_a_silent_session_loses_its_locks(table: LockTable) -> None:
    table.take(A, FILE, write(), 0)
    table.wait(Waiter(1), B, FILE, write())
    table.alive(A, 5)
    assert table.expire(SESSION_SECONDS + 4).granted == ()
    assert table.expire(SESSION_SECONDS + 6).granted == (1,)


def test_the_grace_period_takes_only_what_is_reasserted() -> None:
    table = LockTable(2, 100.0)
    with pytest.raises(Fault) as refused:
        table.take(A, FILE, write(), 101)
    assert refused.value.kind is Kind.BUSY
    table.reassert(A, [HeldLock(FILE, write())], 101)
    table.reassert(A, [HeldLock(FILE, write())], 101)  # again changes nothing
    assert len(table) == 1
    with pytest.raises(Fault) as lost:
        table.reassert(B, [HeldLock(FILE, write())], 101)
    assert lost.value.kind is Kind.CONFLICT
    assert table.take(B, FILE, write(), 100 + GRACE_SECONDS) == write()


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (5, 4), (0, 1 << 63)])
def test_an_impossible_range_is_refused(table: LockTable, start: int, end: int) -> None:
    with pytest.raises(Fault):
        table.take(A, FILE, write(start, end), 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([A, B]),
        st.sampled_from([*LockKind, None]),
        st.integers(0, 15),
        st.integers(0, 15),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_table_agrees_with_a_byte_by_byte_model(
    steps: list[tuple[bytes, LockKind | None, int, int]],
) -> None:
    table = LockTable(1, -GRACE_SECONDS)
    model: dict[tuple[bytes, int], LockKind] = {}
    for session, kind, one, other in steps:
        start, end = min(one, other), max(one, other)
        if kind is None:
            table.free(session, FILE, write(start, end), 0)
            for byte in range(start, end + 1):
                model.pop((session, byte), None)
            continue
        free = not any(
            who != session and start <= byte <= end and LockKind.WRITE in (held, kind)
            for (who, byte), held in model.items()
        )
        taken = table.take(session, FILE, lock(kind, start, end), 0) is None
        assert taken == free
        if taken:
            for byte in range(start, end + 1):
                model[session, byte] = kind
    for byte in range(16):
        for session, other_session in ((A, B), (B, A)):
            held = model.get((other_session, byte))
            seen = table.probe(session, FILE, write(byte, byte))
            assert (seen.kind if seen else None) == held
