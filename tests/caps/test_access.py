"""Accesses: rights add up downwards, and each access is signed by one who may share there."""

from dataclasses import replace
from pathlib import Path as File

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector
from blocktree.caps import (
    Access,
    Right,
    check_access,
    check_accesses,
    check_succession,
    grant_to,
    load_access,
    require,
    rights_of,
)
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Member, check_member, member_of
from blocktree.names import ROOT_FILE, Path, PrincipalId, TreeId, tree_of
from blocktree.wire import decode, encode
from caps.access_cases import Case, cases
from caps.home import ANNA, BOB, EVERYBODY, OWNER, PHOTOS, ROOT_ACCESS, TREE, access, give, identify
from keys.forge import NOW, a_tree

CASES = cases()
FILES = sorted((vector.FOLDER / "access").glob("*.txt"))


def as_vector(case: Case) -> vector.Vector:
    """The accesses, then the members that may be needed to judge them."""
    headers = {
        "why": case.why,
        "expect": case.expect.name.lower() if case.expect else "ok",
        "tree": TREE.tree,
        "now": str(NOW),
        "accesses": str(len(case.accesses)),
        "who": case.who.path,
        "rights": str(int(case.rights)),
    }
    members = [encode(member_of(one.identity)) for one in EVERYBODY]
    return vector.Vector(headers, [*case.accesses, *members])


@pytest.mark.parametrize("name", CASES)
def test_the_vector_is_what_the_seed_gives(name: str, *, rewrite: bool) -> None:
    vector.pin("access", name, as_vector(CASES[name]), rewrite=rewrite)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_access_gets_its_verdict(file: File) -> None:
    pinned = vector.load(file)
    count, now = int(pinned.headers["accesses"]), int(pinned.headers["now"])
    members = [decode(value, Member) for value in pinned.values[count:]]
    known = {m.principal: check_member(m, tree_of(m.path), now) for m in members}
    who = next(i for i in known.values() if i.path == pinned.headers["who"])

    def judge() -> None:
        accesses = [load_access(value) for value in pinned.values[:count]]
        check_accesses(accesses, known.__getitem__, TreeId(pinned.headers["tree"]))
        assert int(rights_of(who, accesses)) == int(pinned.headers["rights"])

    assert vector.verdict(judge) == pinned.headers["expect"]


def test_no_vector_is_left_without_its_case() -> None:
    assert {file.stem for file in FILES} == set(CASES)


def test_an_access_survives_its_bytes() -> None:
    assert load_access(encode(ROOT_ACCESS)) == ROOT_ACCESS
    check_accesses([ROOT_ACCESS], identify, TREE.tree)


def test_what_lacks_is_named() -> None:
    require(BOB.identity, Right.READ, [ROOT_ACCESS])
    with pytest.raises(Fault, match="bob lacks the right to write") as caught:
        require(BOB.identity, Right.WRITE, [ROOT_ACCESS], path="/home/photos")
    assert (caught.value.kind, caught.value.path) == (Kind.DENIED, "/home/photos")
    assert "may grant there" in caught.value.next_step


def test_the_owner_of_another_tree_owns_nothing_here() -> None:
    other = a_tree(seed=2).owner.identity
    assert other.is_owner
    assert rights_of(other, [ROOT_ACCESS]) is Right.NONE


def test_without_any_access_nobody_has_a_right() -> None:
    assert rights_of(OWNER.identity, []) is Right.NONE


def test_the_signer_must_be_the_one_it_names() -> None:
    with pytest.raises(Fault, match="signed by somebody else"):
        check_access(ROOT_ACCESS, ANNA.identity, [])


FIRST = access(ANNA, PHOTOS, give(BOB, Right.READ))


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (None, FIRST, None),
        (FIRST, replace(FIRST, version=2), None),
        (FIRST, replace(FIRST, version=2, epoch=2), None),
        (None, replace(FIRST, version=2), Kind.CONFLICT),
        (FIRST, FIRST, Kind.CONFLICT),
        (FIRST, replace(FIRST, version=3), Kind.CONFLICT),
        (FIRST, replace(FIRST, version=2, file=ROOT_FILE), Kind.CONTRACT),
        (FIRST, replace(FIRST, version=2, epoch=3), Kind.CONTRACT),
        (replace(FIRST, epoch=2), replace(FIRST, version=2), Kind.CONTRACT),
    ],
)
def test_an_access_follows_another(old: Access | None, new: Access, kind: Kind | None) -> None:
    expect = kind.name.lower() if kind else "ok"
    assert vector.verdict(lambda: check_succession(old, new)) == expect


@given(st.integers(0, 400), st.integers(1, 255))
def test_no_altered_byte_of_an_access_passes(at: int, change: int) -> None:
    encoded = bytearray(encode(ROOT_ACCESS))
    encoded[at % len(encoded)] ^= change
    with pytest.raises(Fault):
        check_accesses([load_access(bytes(encoded))], identify, TREE.tree)


@given(st.binary(max_size=200))
def test_any_bytes_as_an_access_are_a_fault(junk: bytes) -> None:
    with pytest.raises(Fault):
        load_access(junk)


RIGHTS = st.integers(1, 15).map(Right)
SUBJECTS = st.sampled_from([one.principal for one in EVERYBODY] + [one.path for one in EVERYBODY])


@given(st.lists(st.lists(st.tuples(SUBJECTS, RIGHTS), max_size=4), max_size=4))
def test_rights_only_grow_on_the_way_down_and_the_order_of_grants_is_nothing(
    levels: list[list[tuple[PrincipalId | Path, Right]]],
) -> None:
    accesses = [
        replace(ROOT_ACCESS, grants=tuple(grant_to(subject, right) for subject, right in level))
        for level in levels
    ]
    turned = [replace(a, grants=a.grants[::-1]) for a in accesses]
    who: Identity
    for who in (one.identity for one in EVERYBODY):
        before = Right.NONE
        for count in range(len(accesses) + 1):
            now = rights_of(who, accesses[:count])
            assert before & ~now == Right.NONE
            assert now == rights_of(who, turned[:count])
            before = now
