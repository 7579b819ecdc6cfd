"""What the replicated state machine accepts, refuses and remembers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.caps import Right, load_access, share
from blocktree.fault import Fault, Kind
from blocktree.names import PATH_COMPONENTS_MAX, ROOT_FILE, TreeId
from blocktree.sectors import state
from blocktree.sectors.check import read_transaction
from blocktree.sectors.header import SECTOR_BYTES_MIN, Cipher, FileKind, load_header, sign_header
from blocktree.sectors.table import MemoryTable, Overlay, header_key
from blocktree.sectors.transaction import (
    Change,
    Commit,
    Conflict,
    Genesis,
    Remove,
    Transaction,
    decode_command,
)
from blocktree.wire import encode
from keys.forge import NOW
from sectors.house import (
    ANNA,
    BOB,
    DIR,
    GENESIS,
    OWNER,
    RING,
    TREE,
    A,
    B,
    C,
    D,
    E,
    House,
    access_for,
    bob_may,
    file_id,
    fresh,
)


def test_a_tree_begins_once() -> None:
    house = House(begun=False)
    assert house.state.header(ROOT_FILE) is None
    assert house.state.genesis() is None
    outcome = house.apply(GENESIS)
    assert outcome.kind is None
    assert outcome.changed == (ROOT_FILE,)
    assert outcome.members_changed
    assert house.header(ROOT_FILE).kind is FileKind.DIRECTORY
    assert house.state.genesis() == GENESIS
    assert house.apply(GENESIS).kind is None, "sent again"
    assert house.apply(replace(GENESIS, time_ns=1)).kind is Kind.EXISTS


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (replace(GENESIS, members=GENESIS.members[::-1]), Kind.DENIED),
        (replace(GENESIS, members=()), Kind.DENIED),
        (replace(GENESIS, members=GENESIS.members[:1] * 2), Kind.MALFORMED),
        (replace(GENESIS, tree=TreeId("bt1other")), Kind.WRONG_TREE),
        (replace(GENESIS, header=b""), Kind.MALFORMED),
        (replace(GENESIS, header=sign_header(fresh(A), OWNER.key).encoded), Kind.MALFORMED),
        (
            replace(
                GENESIS,
                header=sign_header(
                    fresh(ROOT_FILE, access=access_for(ROOT_FILE), **DIR), ANNA.key
                ).encoded,
            ),
            Kind.DENIED,
        ),
        (
            replace(
                GENESIS,
                header=sign_header(
                    fresh(ROOT_FILE, access=access_for(ROOT_FILE, signer=ANNA), **DIR), OWNER.key
                ).encoded,
            ),
            Kind.DENIED,
        ),
    ],
)
def test_a_tree_begins_with_its_owner_and_his_root_directory(wrong: Genesis, kind: Kind) -> None:
    house = House(begun=False)
    assert house.apply(wrong).kind is kind
    assert house.table.items(b"", b"", 10) == []


def test_a_file_is_created_changed_and_deleted() -> None:
    house = House()
    assert house.ok(house.create(A)).changed == (A,)
    assert house.version(A) == 1
    house.ok(house.edit(A, mode=0o600))
    assert (house.version(A), house.header(A).mode) == (2, 0o600)
    house.ok(house.delete(A))
    assert house.state.header(A) is None


def test_a_new_file_costs_a_checkpoint_one_row() -> None:
    below = MemoryTable()
    overlay = Overlay(below)
    house = House(overlay)
    for key, value in overlay.take().items():
        assert value is not None
        below.put(key, value)
    overlay.settle()
    house.ok(house.create(A))
    assert list(overlay.changes) == [header_key(A)]


def test_a_conflict_names_every_file_that_was_not_as_expected() -> None:
    house = House()
    house.ok(house.create(A), house.create(B))
    stale_a, stale_b = house.edit(A, mode=0o600), house.edit(B, mode=0o600)
    house.ok(house.edit(A))
    house.ok(house.delete(B))
    outcome = house.commit(stale_a, house.create(C), stale_b)
    assert outcome.kind is Kind.CONFLICT
    assert outcome.conflicts == (Conflict(A, 1, 2), Conflict(B, 1, 0))
    fault = outcome.fault()
    assert fault is not None
    assert fault.path == A.hex()
    assert house.version(C) == 0
    assert house.refused(house.create(A, mode=0)) is Kind.CONFLICT


def test_what_was_applied_is_answered_as_done_when_it_is_sent_again() -> None:
    house = House()
    first = house.create(A), house.create(B)
    house.ok(*first)
    assert house.ok(*first).changed == ()
    second = house.edit(A, mode=0o600), house.delete(B)
    house.ok(*second)
    house.ok(*second)
    assert house.ok(house.edit(A)).changed == (A,)
    house.ok(*second)
    assert house.version(A) == 3, "also when it was overtaken meanwhile"
    assert house.refused(first[0], house.create(B, mode=0)) is Kind.CONFLICT
    assert house.refused(house.create(A, mode=0)) is Kind.CONFLICT


def test_a_transaction_changes_all_or_nothing() -> None:
    house = House()
    house.ok(house.create(A))
    assert house.refused(house.edit(A), house.create(B, parent=C)) is Kind.NOT_FOUND


def test_a_version_names_the_one_before_it() -> None:
    house = House()
    house.ok(house.create(A))
    assert house.refused(house.edit(A, previous=bytes(32))) is Kind.DAMAGED
    assert house.refused(house.edit(A, version=3)) is Kind.DAMAGED
    forked = Change(B, 0, sign_header(fresh(B, version=2, previous=bytes(32)), ANNA.key).encoded)
    assert house.refused(forked) is Kind.DAMAGED


def test_what_is_fixed_at_creation_stays() -> None:
    house = House()
    house.ok(house.create(A), house.create(B, size=100_000, root=b"r" * 32))
    assert house.refused(house.edit(A, kind=FileKind.ACTOR)) is Kind.CONTRACT
    assert house.refused(house.edit(B, sector_size=SECTOR_BYTES_MIN)) is Kind.CONTRACT
    assert house.refused(house.edit(B, cipher=Cipher.PLAIN)) is Kind.CONTRACT
    house.ok(house.edit(A, cipher=Cipher.PLAIN, sector_size=SECTOR_BYTES_MIN))
    house.ok(house.edit(A, epoch=2, past_keys=bytes(48)))
    assert house.refused(house.edit(A, epoch=1, past_keys=b"")) is Kind.CONTRACT


# Places


def test_a_directory_and_a_file_in_it_are_created_together() -> None:
    house = House()
    house.ok(house.create(B, parent=A), house.mkdir(A))
    assert house.header(B).parent == A


@pytest.mark.parametrize(
    ("parent", "kind"), [(file_id(99), Kind.NOT_FOUND), (B, Kind.NOT_DIRECTORY)]
)
def test_a_files_directory_is_there_and_is_one(parent: bytes, kind: Kind) -> None:
    house = House()
    house.ok(house.mkdir(A), house.create(B))
    assert house.refused(house.create(C, parent=parent)) is kind
    assert house.refused(house.edit(A, parent=parent)) is kind


def test_nothing_stays_in_a_directory_that_goes_in_the_same_transaction() -> None:
    house = House()
    house.ok(house.mkdir(A), house.create(B, parent=A))
    assert house.refused(house.delete(A), house.create(C, parent=A)) is Kind.NOT_FOUND
    assert house.refused(house.delete(A), house.edit(B)) is Kind.NOT_FOUND
    house.ok(house.delete(A), house.edit(B, parent=ROOT_FILE))


def test_a_directory_cannot_get_below_itself() -> None:
    house = House()
    house.ok(house.mkdir(A), house.mkdir(B, parent=A), house.mkdir(C, parent=B))
    assert house.refused(house.edit(A, parent=C)) is Kind.USAGE
    assert house.refused(house.edit(A, parent=B), house.edit(B, parent=A)) is Kind.USAGE
    assert house.refused(house.mkdir(D, parent=E), house.mkdir(E, parent=D)) is Kind.USAGE
    house.ok(house.edit(B, parent=ROOT_FILE), house.edit(A, parent=C))
    assert [h.file for h in house.state.rights.way_up(A)] == [A, C, B, ROOT_FILE]


def test_directories_nest_as_deep_as_a_path_can_say() -> None:
    house = House()
    above = ROOT_FILE
    for depth in range(PATH_COMPONENTS_MAX - 1):  # the tree itself is the first component
        house.ok(house.mkdir(file_id(100 + depth), parent=above))
        above = file_id(100 + depth)
    assert house.refused(house.mkdir(A, parent=above)) is Kind.USAGE
    house.ok(house.edit(above))


def test_the_root_directory_stays() -> None:
    house = House()
    assert house.refused(house.delete(ROOT_FILE)) is Kind.DENIED


def test_a_deleted_file_comes_back_only_as_its_next_version() -> None:
    house = House()
    house.ok(house.create(A, mode=0o600))
    back = house.edit(A)
    house.ok(house.delete(A))
    assert house.refused(house.create(A)) is Kind.EXISTS
    assert house.refused(back) is Kind.CONFLICT
    house.ok(replace(back, expected_version=0))
    assert (house.version(A), house.header(A).mode) == (2, 0o600)
    house.ok(house.edit(A))
    assert len(house.state.history(A)) == 2


# Rights


def test_who_may_only_read_changes_nothing() -> None:
    house = House()
    house.ok(house.create(A))
    assert house.refused(house.create(B, by=BOB), by=BOB) is Kind.DENIED
    assert house.refused(house.edit(A, by=BOB), by=BOB) is Kind.DENIED
    assert house.refused(house.delete(A), by=BOB) is Kind.DENIED


def test_rights_are_inherited_downwards_and_end_there() -> None:
    house = House()
    access = access_for(A, *bob_may(Right.WRITE))
    house.ok(house.mkdir(A, access=access), house.mkdir(B, parent=A), house.create(C, parent=B))
    house.ok(house.edit(C, by=BOB), house.create(D, by=BOB, parent=B), by=BOB)
    house.ok(house.edit(A, by=BOB), by=BOB)
    house.ok(house.delete(D), by=BOB)
    assert house.refused(house.create(E, by=BOB), by=BOB) is Kind.DENIED
    assert house.refused(house.delete(A), by=BOB) is Kind.DENIED, "A itself is in the root"
    assert house.refused(house.edit(ROOT_FILE, by=BOB), by=BOB) is Kind.DENIED


def test_moving_a_file_takes_the_right_at_both_ends() -> None:
    house = House()
    access = access_for(A, *bob_may(Right.WRITE))
    house.ok(house.mkdir(A, access=access), house.create(B, parent=A), house.create(C))
    assert house.refused(house.edit(B, by=BOB, parent=ROOT_FILE), by=BOB) is Kind.DENIED
    assert house.refused(house.edit(C, by=BOB, parent=A), by=BOB) is Kind.DENIED
    house.ok(house.edit(C, parent=A))
    house.ok(house.edit(C, by=BOB), by=BOB)
    house.ok(house.edit(C, parent=ROOT_FILE))
    assert house.refused(house.edit(C, by=BOB), by=BOB) is Kind.DENIED


def test_who_may_write_in_a_directory_may_not_take_it_away() -> None:
    house = House()
    house.ok(
        house.mkdir(A, access=access_for(A, *bob_may(Right.WRITE))),
        house.mkdir(B, access=access_for(B, *bob_may(Right.WRITE))),
    )
    assert house.refused(house.edit(A, by=BOB, parent=B), by=BOB) is Kind.DENIED
    house.ok(house.edit(A, parent=B))


def test_rights_follow_a_directory_that_moves() -> None:
    house = House()
    house.ok(
        house.mkdir(A, access=access_for(A, *bob_may(Right.WRITE))),
        house.mkdir(B),
        house.create(C, parent=B),
    )
    assert house.refused(house.edit(C, by=BOB), by=BOB) is Kind.DENIED
    house.ok(house.edit(B, parent=A))
    house.ok(house.edit(C, by=BOB), by=BOB)
    house.ok(house.edit(B, parent=ROOT_FILE))
    assert house.refused(house.edit(C, by=BOB), by=BOB) is Kind.DENIED


def test_a_file_that_outlives_its_directory_is_the_root_directorys() -> None:
    house = House()
    access = access_for(A, *bob_may(Right.WRITE))
    house.ok(house.mkdir(A, access=access), house.mkdir(B, parent=A), house.create(C, parent=B))
    house.ok(house.edit(C, by=BOB), by=BOB)
    house.ok(house.delete(B))
    assert house.refused(house.edit(C, by=BOB), by=BOB) is Kind.DENIED
    house.ok(house.edit(C))
    house.ok(house.edit(C, parent=A))
    house.ok(house.edit(C, by=BOB), by=BOB)


def test_rights_come_back_with_a_directory_that_comes_back() -> None:
    house = House()
    access = access_for(A, *bob_may(Right.WRITE))
    house.ok(house.mkdir(A, access=access), house.create(B, parent=A))
    back = house.edit(A, access=access)
    house.ok(house.delete(A))
    assert house.refused(house.edit(B, by=BOB), by=BOB) is Kind.DENIED
    without = sign_header(replace(load_header(back.header).header, access=b""), ANNA.key)
    assert house.refused(Change(A, 0, without.encoded)) is Kind.DENIED
    house.ok(replace(back, expected_version=0))
    house.ok(house.edit(B, by=BOB), by=BOB)


def test_the_writer_of_a_header_is_who_commits_it() -> None:
    house = House()
    change = house.create(A)
    house.index += 1
    outcome = house.state.apply(
        house.index, Commit(encode(Transaction((change,))), NOW, OWNER.principal)
    )
    assert outcome.kind is Kind.DENIED
    with pytest.raises(Fault, match="another writer"):
        house.commit(change, by=BOB)


def test_who_was_removed_changes_nothing_more() -> None:
    house = House()
    house.ok(house.create(A))
    assert house.apply(Remove(ANNA.principal, NOW)).members_changed
    assert house.refused(house.edit(A)) is Kind.DENIED


# Sharing


def test_only_who_has_the_grant_right_above_changes_an_access() -> None:
    house = House()
    access = access_for(A, *bob_may(Right.WRITE, Right.GRANT))
    house.ok(house.mkdir(A, access=access))
    wider = share(load_access(access), BOB, grants=bob_may(Right.READ), readers=[], ring=RING)
    assert house.refused(house.edit(A, by=BOB, access=encode(wider)), by=BOB) is Kind.DENIED
    wider = share(load_access(access), ANNA, grants=bob_may(Right.READ), readers=[], ring=RING)
    house.ok(house.edit(A, access=encode(wider)))
    house.ok(house.mkdir(B, parent=A))
    below = access_for(B, *bob_may(Right.SEND), signer=BOB)
    house.ok(house.edit(B, by=BOB, access=below), by=BOB)


def test_an_access_does_not_go_back_or_away() -> None:
    house = House()
    first = access_for(A, *bob_may(Right.WRITE))
    second = encode(share(load_access(first), OWNER, grants=[], readers=[], ring=RING))
    house.ok(house.mkdir(A, access=first))
    house.ok(house.edit(A, access=second))
    assert house.refused(house.edit(A, access=first)) is Kind.CONFLICT
    assert house.refused(house.edit(A, access=b"")) is Kind.DENIED
    assert house.refused(house.edit(A, access=access_for(B))) is Kind.MALFORMED
    assert house.refused(house.edit(A, access=b"x")) is Kind.MALFORMED


def test_an_access_moves_only_to_where_its_signer_may_share_too() -> None:
    house = House()
    house.ok(house.mkdir(A, access=access_for(A, *bob_may(Right.GRANT))))
    shared = access_for(B, *bob_may(Right.READ), signer=BOB)
    house.ok(house.mkdir(B, parent=A, access=shared))
    assert house.refused(house.edit(B, parent=ROOT_FILE)) is Kind.DENIED
    by_owner = share(load_access(shared), OWNER, grants=[], readers=[], ring=RING)
    house.ok(house.edit(B, parent=ROOT_FILE, access=encode(by_owner)))


def test_an_access_that_was_tampered_with_is_refused() -> None:
    house = House()
    access = load_access(access_for(A))
    forged = encode(replace(access, grants=tuple(bob_may(Right.ALL))))
    assert house.refused(house.mkdir(A, access=forged)) is Kind.DAMAGED


def test_the_owner_alone_shares_the_root_directory() -> None:
    house = House()
    old = load_access(house.header(ROOT_FILE).access)
    grants = bob_may(Right.WRITE)
    by_anna = encode(share(old, ANNA, grants=grants, readers=[], ring=RING))
    assert house.refused(house.edit(ROOT_FILE, access=by_anna)) is Kind.DENIED
    by_owner = encode(share(old, OWNER, grants=grants, readers=[], ring=RING))
    house.ok(house.edit(ROOT_FILE, access=by_owner))
    house.ok(house.create(A, by=BOB), by=BOB)


def test_commands_are_read_back_and_other_records_are_not_commands() -> None:
    assert decode_command(encode(GENESIS)) == GENESIS
    for payload in (b"", encode(Transaction(())), encode(TREE.members[0])):
        with pytest.raises(Fault) as caught:
            decode_command(payload)
        assert caught.value.kind is Kind.MALFORMED


def test_an_entry_that_holds_no_transaction_does_nothing() -> None:
    house = House()
    for payload in (b"", b"x", encode(GENESIS), encode(Transaction(()))):
        outcome = house.apply(Commit(payload, NOW, ANNA.principal))
        assert outcome.kind in {Kind.MALFORMED, Kind.TOO_LARGE}


def test_what_is_remembered_of_headers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    monkeypatch.setattr(state, "REMEMBERED_BYTES_MAX", 20_000)
    for number in range(50):
        house.ok(house.create(file_id(1000 + number)))
    assert 0 < house.state._known_bytes <= 20_000
    assert len(house.state._known) < 20
    house.ok(*(house.edit(file_id(1000 + number)) for number in range(50)))
    for number in range(50):
        house.ok(house.delete(file_id(1000 + number)))
    assert house.state._known_bytes == sum(map(state._weight, house.state._known.values()))


@given(st.binary(max_size=400))
def test_bytes_that_are_no_command_get_a_fault(payload: bytes) -> None:
    for read in (decode_command, read_transaction):
        with pytest.raises(Fault) as caught:
            read(payload)
        assert caught.value.kind is Kind.MALFORMED
