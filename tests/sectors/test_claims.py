"""Who alone answers at a path, and what he keeps there: by the log, with rights, fenced."""

import os

from blocktree.caps import Right, grant_to
from blocktree.fault import Kind
from blocktree.keys import Credential
from blocktree.names import ROOT_FILE, Path, join
from blocktree.sectors.claims import KEPT_BYTES_MAX, Claim, Keep, Kept, Release
from blocktree.sectors.header import FileKind
from blocktree.sectors.places import Publish
from blocktree.sectors.snapshot import piece, restore
from blocktree.sectors.state import SectorState
from blocktree.sectors.table import MemoryTable
from blocktree.sectors.transaction import Outcome
from keys.forge import NOW
from sectors.house import ANNA, BOB, OWNER, TREE, A, B, House, access_for

HOME = Path(f"/{TREE.tree}")
COUNTER = join(HOME, "services", "counter")


def claim(
    house: House,
    *,
    by: Credential = ANNA,
    path: Path = COUNTER,
    expected: int = 0,
    session: bytes = b"s" * 16,
    file: bytes = b"",
) -> Outcome:
    command = Claim(path, by.principal, by.path, "counter", session, expected, NOW, file)
    return house.apply(command)


def test_the_index_of_the_entry_is_the_epoch_and_only_goes_up() -> None:
    house = House()
    first = claim(house)
    assert (first.kind, first.placed) == (None, COUNTER)
    held = house.state.holding(COUNTER)
    assert held is not None
    assert held.epoch == first.index
    second = claim(house, expected=first.index, session=b"t" * 16)
    assert second.kind is None
    held = house.state.holding(COUNTER)
    assert held is not None
    assert (held.epoch, held.session) == (second.index, b"t" * 16)
    assert house.state.holdings() == {COUNTER: held}


def test_a_claim_on_what_another_has_got_meanwhile_is_refused() -> None:
    house = House()
    first = claim(house)
    before = house.table.items(b"", b"", 1 << 20)
    late = claim(house, session=b"t" * 16)
    assert late.kind is Kind.CONFLICT
    assert f"held under epoch {first.index}" in late.what
    assert house.table.items(b"", b"", 1 << 20) == before


def test_who_has_no_right_to_write_there_gets_no_path() -> None:
    house = House()
    assert claim(house, by=BOB).kind is Kind.DENIED
    assert claim(house, path=join(Path("/bt1other"), "x")).kind is Kind.WRONG_TREE
    for wrong in ("x", f"{HOME}/", HOME, f"{HOME}/a/../b"):
        assert claim(house, path=Path(wrong)).kind is Kind.MALFORMED


def test_a_right_in_a_directory_counts_at_its_path_once_that_is_published() -> None:
    house = House()
    house.ok(house.mkdir(A))
    shared = access_for(A, grant_to(BOB.principal, Right.WRITE))
    house.ok(house.edit(A, by=OWNER, access=shared), by=OWNER)
    assert claim(house, by=BOB).kind is Kind.DENIED
    place = join(HOME, "services")
    by_bob = house.apply(Publish(place, A, BOB.principal, NOW))
    assert by_bob.kind is Kind.DENIED  # he may write in it, but not name it
    assert house.apply(Publish(place, A, ANNA.principal, NOW)).kind is None
    assert house.state.place_of(COUNTER) == A
    assert house.state.place_of(join(HOME, "other", "x")) == ROOT_FILE
    assert claim(house, by=BOB).kind is None


def test_a_directory_is_published_only_where_it_lies() -> None:
    house = House()
    house.ok(house.mkdir(A), house.mkdir(B, parent=A))
    deep = join(HOME, "services", "sub")
    assert house.apply(Publish(deep, B, ANNA.principal, NOW)).kind is Kind.CONTRACT
    assert house.apply(Publish(join(HOME, "x"), B, ANNA.principal, NOW)).kind is Kind.CONTRACT
    assert house.apply(Publish(join(HOME, "services"), A, ANNA.principal, NOW)).kind is None
    assert house.apply(Publish(deep, B, ANNA.principal, NOW)).kind is None
    house.ok(house.delete(B))
    assert house.state.place_of(deep) == A  # what is gone governs nothing


def test_whoever_runs_an_actor_of_the_tree_has_the_right_of_who_wrote_it() -> None:
    house = House()
    house.ok(house.create(A, kind=FileKind.ACTOR), house.create(B))
    assert claim(house, by=BOB, file=B).kind is Kind.NOT_FOUND
    assert claim(house, by=BOB, file=A).kind is None


def test_what_a_holder_keeps_survives_him_and_late_words_of_his_are_refused() -> None:
    house = House()
    first = claim(house).index
    assert house.apply(Keep(COUNTER, first, 1, b"one")).kind is None
    assert house.apply(Keep(COUNTER, first, 1, b"one")).kind is None  # said twice
    assert house.apply(Keep(COUNTER, first, 1, b"uno")).kind is Kind.CONFLICT
    second = claim(house, expected=first, session=b"t" * 16).index
    late = house.apply(Keep(COUNTER, first, 2, b"two of the old one"))
    assert late.kind is Kind.CONFLICT
    assert f"epoch {first} is over" in late.what
    assert house.state.kept(COUNTER) == Kept(first, 1, b"one")
    assert house.apply(Keep(COUNTER, second, 3, b"gap")).kind is Kind.CONFLICT
    assert house.apply(Keep(COUNTER, second, 2, b"two")).kind is None
    big = Keep(COUNTER, second, 3, bytes(KEPT_BYTES_MAX + 1))
    assert house.apply(big).kind is Kind.TOO_LARGE


def test_a_released_path_keeps_its_state_unless_it_is_forgotten() -> None:
    house = House()
    first = claim(house).index
    house.apply(Keep(COUNTER, first, 1, b"one"))
    assert house.apply(Release(COUNTER, first + 1)).kind is Kind.CONFLICT
    assert house.apply(Release(COUNTER, first)).kind is None
    assert house.state.holding(COUNTER) is None
    assert house.apply(Keep(COUNTER, first, 2, b"two")).kind is Kind.CONFLICT
    second = claim(house).index
    assert house.state.kept(COUNTER).state == b"one"
    house.apply(Release(COUNTER, second, forget=True))
    assert house.state.kept(COUNTER).serial == 0


def test_a_snapshot_carries_claims_and_kept_states() -> None:
    house = House()
    first = claim(house).index
    house.apply(Keep(COUNTER, first, 1, os.urandom(100)))
    other = MemoryTable()
    rows, last = piece(house.table, b"")
    assert last
    restore(other, rows, b"")
    state = SectorState(other)
    assert state.holdings() == house.state.holdings()
    assert state.kept(COUNTER) == house.state.kept(COUNTER)
