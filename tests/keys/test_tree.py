"""The beginning of a tree, its sealed owner key, credentials and members."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.keys import (
    Credential,
    Key,
    Member,
    MemberKind,
    check_chain,
    check_credential,
    check_member,
    issue,
    judge_clock,
    member_of,
    new_tree,
    open_credential,
    process_credential,
    seal_credential,
)
from blocktree.keys.credential import SavedCredential
from blocktree.names import Path, tree_id
from blocktree.wire import decode, encode
from keys.forge import NOW, a_tree, credential, drawn

TREE = a_tree()
NODE = credential(TREE, MemberKind.NODE, "pi-1")


def test_a_new_tree_has_an_owner_and_a_first_user() -> None:
    owner, user = TREE.owner.identity, TREE.user.identity
    assert owner.is_owner
    assert owner.path == f"/{TREE.tree}"
    assert user.path == f"/{TREE.tree}/users/anna"
    assert [check_member(member, TREE.tree, NOW) for member in TREE.members] == [owner, user]
    assert TREE.alias == "home"


def test_the_tree_is_named_by_its_root_key_which_is_only_in_the_words() -> None:
    root = check_chain(TREE.owner.chain, TREE.tree, NOW)
    assert root.tree == TREE.tree
    assert Key.generate(drawn(1)).principal.spki in TREE.root
    assert tree_id(Key.generate(drawn(1)).principal.spki) == TREE.tree
    saved = TREE.owner_sealed + TREE.user.save() + TREE.owner.save()
    assert Key.generate(drawn(1)).scalar() not in saved


def test_the_passphrase_opens_the_owner_key() -> None:
    assert open_credential(TREE.owner_sealed, "secret") == TREE.owner


def test_a_wrong_passphrase_is_denied_with_its_own_sentence() -> None:
    with pytest.raises(Fault, match="the passphrase is wrong") as caught:
        open_credential(TREE.owner_sealed, "Secret")
    assert caught.value.kind is Kind.DENIED


def test_a_damaged_file_is_not_called_a_wrong_passphrase() -> None:
    with pytest.raises(Fault) as caught:
        open_credential(TREE.owner_sealed[:-20] + bytes(20), "secret")
    assert caught.value.kind in (Kind.DAMAGED, Kind.MALFORMED)


def test_the_same_letters_typed_on_another_keyboard_open_it() -> None:
    sealed = seal_credential(TREE.owner, "caf\u00e9", drawn(3), cost=4)
    assert open_credential(sealed, "cafe\u0301") == TREE.owner


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(Fault, match="passphrase is empty") as caught:
        new_tree("home", "anna", now=NOW, passphrase="", draw=drawn(1), cost=4)
    assert caught.value.kind is Kind.USAGE


@given(st.integers(0, 5000), st.integers(1, 255))
def test_no_altered_byte_of_a_sealed_key_passes(at: int, change: int) -> None:
    sealed = bytearray(TREE.owner_sealed)
    sealed[at % len(sealed)] ^= change
    with pytest.raises(Fault):
        open_credential(bytes(sealed), "secret")


def test_a_sealed_file_cannot_make_us_take_much_memory() -> None:
    greedy = seal_credential(TREE.owner, "secret", drawn(3), cost=4).replace(
        b"\x04", b"\x18\x1e", 1
    )
    with pytest.raises(Fault):
        open_credential(greedy, "secret")


def test_a_user_named_in_any_language_has_a_path() -> None:
    tree = new_tree("home", "Jürgen", now=NOW, passphrase="x", draw=drawn(6), cost=4)
    assert tree.user.path == f"/{tree.tree}/users/Jürgen"


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    for alias, user in ((name, "anna"), ("home", name)):
        with pytest.raises(Fault) as caught:
            new_tree(alias, user, now=NOW, passphrase="x", draw=drawn(6), cost=4)
        assert caught.value.kind is Kind.USAGE


def test_a_credential_is_saved_and_loaded() -> None:
    assert Credential.load(NODE.save()) == NODE


def test_a_key_with_anothers_chain_is_refused() -> None:
    with pytest.raises(Fault, match="do not belong together"):
        Credential.of(Key.generate(drawn(4)), NODE.chain)


@given(st.binary(max_size=100))
def test_any_bytes_as_a_credential_are_a_fault(junk: bytes) -> None:
    for read in (Credential.load, lambda data: open_credential(data, "secret")):
        with pytest.raises(Fault):
            read(junk)


def test_a_process_is_named_below_its_user() -> None:
    laptop = process_credential(TREE.user, "laptop", now=NOW, draw=drawn(6))
    assert laptop.path == f"{TREE.user.path}/laptop"
    assert laptop.identity.kind is MemberKind.PROCESS
    check_credential(laptop, NOW)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (MemberKind.PROCESS, "/{tree}/users/bob/laptop"),
        (MemberKind.NODE, "/{tree}/users/anna/pi-9"),
        (MemberKind.USER, "/{tree}/users/anna/child"),
        (MemberKind.OWNER, "/{tree}"),
    ],
)
def test_what_would_be_refused_is_not_issued(kind: MemberKind, path: str) -> None:
    key = Key.generate(drawn(7)).principal
    with pytest.raises(Fault) as caught:
        issue(TREE.user, kind, Path(path.format(tree=TREE.tree)), key, now=NOW, draw=drawn(8))
    assert caught.value.kind is Kind.DENIED


def test_a_node_issues_nothing() -> None:
    key = Key.generate(drawn(7)).principal
    below = Path(f"{NODE.path}/x")
    with pytest.raises(Fault, match="certifies nobody"):
        issue(NODE, MemberKind.PROCESS, below, key, now=NOW, draw=drawn(8))


def test_nothing_outlives_its_issuer() -> None:
    later = NOW + 9 * 366 * 86_400
    laptop = process_credential(TREE.user, "laptop", now=later, draw=drawn(6))
    assert laptop.identity.ends == TREE.user.identity.ends


@pytest.mark.parametrize("now", [0, 946_684_800, 253_402_300_799, 1 << 60])
def test_a_clock_wrong_by_years_dates_nothing(now: int) -> None:
    for work in (
        lambda: judge_clock(now),
        lambda: new_tree("home", "anna", now=now, passphrase="x", draw=drawn(1), cost=4),
        lambda: process_credential(TREE.user, "laptop", now=now, draw=drawn(1)),
    ):
        with pytest.raises(Fault, match=r"this machine's clock says .*, which cannot be") as caught:
            work()
        assert caught.value.kind is Kind.EXPIRED


def test_a_members_record_travels_and_agrees_with_its_chain() -> None:
    member = member_of(NODE.identity, ("192.168.1.4:4433", "pi-1.local:4433"))
    assert decode(encode(member), Member) == member
    assert check_member(member, TREE.tree, NOW) == NODE.identity


@pytest.mark.parametrize(
    "lie",
    [
        {"path": f"/{TREE.tree}/pi-2"},
        {"kind": MemberKind.USER},
        {"principal": TREE.owner.principal},
        {"ticket": bytes(16)},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_a_members_record_that_says_more_than_its_chain_is_refused(lie: dict[str, object]) -> None:
    member = dataclasses.replace(member_of(NODE.identity), **lie)  # type: ignore[arg-type]
    with pytest.raises(Fault) as caught:
        check_member(member, TREE.tree, NOW)
    assert caught.value.kind is Kind.DAMAGED


@pytest.mark.parametrize(
    "wrong",
    [
        {"principal": b"x"},
        {"ticket": b"x"},
        {"kind": MemberKind.ROOT},
        {"addresses": ("a",) * 17},
        {"addresses": ("a" * 256,)},
    ],
    ids=str,
)
def test_a_member_outside_its_bounds_is_malformed(wrong: dict[str, object]) -> None:
    with pytest.raises(Fault) as caught:
        dataclasses.replace(member_of(NODE.identity), **wrong)  # type: ignore[arg-type]
    assert caught.value.kind is Kind.MALFORMED


def test_no_secret_is_printed() -> None:
    shown = repr(TREE) + repr(decode(NODE.save(), SavedCredential))
    assert TREE.words[0] not in shown
    assert NODE.key.scalar().hex() not in shown
    assert repr(NODE.key.scalar()) not in shown
