"""How long past versions stay, and what is handed over when they go."""

from blocktree.fault import Kind
from blocktree.sectors.retention import SECONDS_MAX, VERSIONS_MAX
from blocktree.sectors.transaction import EXPIRE_MAX, Dropped, Expire
from keys.forge import NOW
from sectors.house import A, B, House, file_id


def past(house: House) -> list[tuple[bytes, bytes]]:
    rows = house.table
    return [row for prefix in (b"v", b"x", b"d") for row in rows.items(prefix, b"", 1 << 20)]


def test_every_version_is_kept_until_there_are_too_many() -> None:
    house = House()
    house.ok(house.create(A))
    headers = [house.state.header(A)]
    for _ in range(VERSIONS_MAX):
        assert house.ok(house.edit(A)).dropped == ()
        headers.append(house.state.header(A))
    assert house.state.history(A) == [h.encoded for h in headers[-2::-1] if h]
    assert house.state.history(A, below=3) == [h.encoded for h in headers[1::-1] if h]
    assert house.state.history(A, count=1) == [h.encoded for h in headers[-2:-1] if h]
    first, second = headers[:2]
    assert first
    assert second
    assert house.ok(house.edit(A)).dropped == (Dropped(first.encoded, second.encoded),)
    assert len(house.state.history(A)) == VERSIONS_MAX


def test_versions_go_when_their_time_is_over_oldest_first() -> None:
    house = House()
    house.ok(house.create(A), time_ns=10)
    headers = []
    for time_ns in (10, 20, 30):
        signed = house.state.header(A)
        assert signed
        headers.append(signed.encoded)
        house.ok(house.edit(A), time_ns=time_ns)
    assert house.apply(Expire(10)).dropped == ()
    outcome = house.apply(Expire(21))
    assert outcome.dropped == (Dropped(*headers[:2]), Dropped(*headers[1:3]))
    assert not outcome.more
    assert house.state.history(A) == headers[2:]


def test_a_clock_that_went_back_does_not_leave_a_gap_in_the_history() -> None:
    house = House()
    house.ok(house.create(A))
    for time_ns in (500, 20, 600):
        house.ok(house.edit(A), time_ns=time_ns)
    assert len(house.apply(Expire(100)).dropped) == 2, "the one before went with it"
    assert len(house.state.history(A)) == 1
    house.ok(house.edit(A), time_ns=-5)
    house.ok(house.edit(A), time_ns=1 << 63)
    assert len(house.state.history(A)) == 3


def test_a_deleted_file_stays_for_its_time_and_leaves_nothing_behind() -> None:
    house = House()
    house.ok(house.create(A), time_ns=1)
    house.ok(house.edit(A), time_ns=2)
    last = house.state.header(A)
    assert last
    house.ok(house.delete(A), time_ns=3)
    assert house.state.history(A)[0] == last.encoded
    first, end = house.apply(Expire(4)).dropped
    assert first.successor == last.encoded
    assert end == Dropped(last.encoded, b"")
    assert past(house) == []
    house.ok(house.create(A))


def test_a_file_that_came_back_follows_its_deleted_version() -> None:
    house = House()
    house.ok(house.create(A), time_ns=1)
    old = house.state.header(A)
    back = house.edit(A)
    house.ok(house.delete(A), time_ns=2)
    house.ok(type(back)(A, 0, back.header), time_ns=3)
    assert old
    assert house.apply(Expire(5)).dropped == (Dropped(old.encoded, back.header),)
    assert past(house) == []
    assert house.version(A) == 2


def test_one_command_drops_a_bounded_number_and_says_that_there_is_more() -> None:
    house = House()
    count = EXPIRE_MAX + 10
    for number in range(count):
        house.ok(house.create(file_id(1000 + number)))
        house.ok(house.delete(file_id(1000 + number)), time_ns=number)
    first = house.apply(Expire(count + 1))
    assert len(first.dropped) == EXPIRE_MAX
    assert first.more
    second = house.apply(Expire(count + 1))
    assert len(second.dropped) == 10
    assert not second.more
    assert past(house) == []


def test_a_refused_transaction_retires_nothing() -> None:
    house = House()
    house.ok(house.create(A))
    assert house.refused(house.edit(A), house.create(B, parent=file_id(99))) is Kind.NOT_FOUND
    assert past(house) == []


def test_the_time_that_versions_are_kept_is_a_week() -> None:
    assert NOW - SECONDS_MAX == NOW - 604_800
