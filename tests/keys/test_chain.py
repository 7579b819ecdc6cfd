"""The chain check: each refusal has a vector, and what holds says who it is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector
from blocktree.fault import Fault, Kind
from blocktree.keys import MemberKind, check_chain, judge_ticket, process_credential
from blocktree.keys.chain import _identify, forget_chains
from blocktree.names import TreeId
from keys.chain_cases import NODE_KEY, TREE, UP, cases, node, under_ticket
from keys.forge import NOW, a_tree, drawn

CASES = cases()
FILES = sorted((vector.FOLDER / "chain").glob("*.txt"))


@pytest.mark.parametrize("name", CASES)
def test_the_vector_is_what_the_seed_gives(name: str, *, rewrite: bool) -> None:
    case = CASES[name]
    headers = {
        "why": case.why,
        "expect": "ok" if case.expect is None else case.expect.name.lower(),
        "tree": case.tree,
        "now": str(case.now),
        "judge": "join" if case.joins else "link",
    }
    vector.pin("chain", name, vector.Vector(headers, case.chain or [b""]), rewrite=rewrite)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_chain_gets_its_verdict(path: Path) -> None:
    pinned = vector.load(path)
    tree, now = TreeId(pinned.headers["tree"]), int(pinned.headers["now"])

    def judge() -> None:
        identity = check_chain(pinned.values, tree, now)
        if pinned.headers["judge"] == "join":
            judge_ticket(identity, now)

    for _ in range(2):  # the second time from what is remembered
        assert vector.verdict(judge) == pinned.headers["expect"]


def test_no_vector_is_left_without_its_case() -> None:
    assert {path.stem for path in FILES} == set(CASES)


def test_every_refusal_of_the_check_has_a_vector() -> None:
    kinds = {case.expect for case in CASES.values()}
    assert kinds >= {
        None,
        Kind.MALFORMED,
        Kind.DAMAGED,
        Kind.DENIED,
        Kind.WRONG_TREE,
        Kind.EXPIRED,
        Kind.TOO_LARGE,
    }


def test_an_identity_says_who_and_what() -> None:
    identity = check_chain(node(), TREE.tree, NOW)
    assert identity.path == f"/{TREE.tree}/pi-1"
    assert identity.kind is MemberKind.NODE
    assert identity.principal == identity.key.id == NODE_KEY.principal.id
    assert identity.acts_for == identity.principal
    assert identity.ticket is None
    assert identity.begins == 946_684_800


def test_who_joined_by_ticket_carries_its_terms() -> None:
    identity = check_chain(under_ticket("node", "pi-2"), TREE.tree, NOW)
    assert identity.ticket is not None
    assert (identity.ticket.id, identity.ticket.expires) == (bytes(range(16)), NOW + 60)


def test_a_process_acts_for_the_user_who_certified_it_and_nobody_for_the_owner() -> None:
    laptop = process_credential(TREE.user, "laptop", now=NOW, draw=drawn(3)).identity
    assert laptop.acts_for == TREE.user.principal != laptop.principal
    assert check_chain(node(), TREE.tree, NOW).acts_for != TREE.owner.principal


def test_a_chain_is_checked_once_but_its_dates_each_time() -> None:
    chain = node()
    first = check_chain(chain, TREE.tree, NOW)
    assert check_chain(list(chain), TREE.tree, NOW + 1) is first
    with pytest.raises(Fault) as caught:
        check_chain(chain, TREE.tree, first.ends + 1)
    assert caught.value.kind is Kind.EXPIRED


def test_strangers_do_not_fill_the_memory_of_good_chains() -> None:
    forget_chains()
    for seed in range(100, 103):
        stranger = a_tree(seed=seed)
        with pytest.raises(Fault) as caught:
            check_chain(stranger.owner.chain, TREE.tree, NOW)
        assert caught.value.kind is Kind.WRONG_TREE
    assert _identify.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (5, "this machine's clock says 1970-01-01 00:00:05 UTC"),
        (2_200_000_000, "this machine's clock says 2039-09-18 23:06:40 UTC"),
        (1 << 62, "this machine's clock says 4611686018427387904 s since 1970"),
    ],
)
def test_a_wrong_clock_is_told_what_it_says(now: int, sentence: str) -> None:
    with pytest.raises(Fault, match=sentence) as caught:
        check_chain(node(), TREE.tree, now)
    assert caught.value.kind is Kind.EXPIRED
    assert "clock" in caught.value.next_step


@given(st.binary(max_size=2000), st.integers(0, 2))
def test_any_bytes_in_place_of_a_certificate_are_a_fault(junk: bytes, place: int) -> None:
    chain = list(node())
    chain[place] = junk
    with pytest.raises(Fault):
        check_chain(chain, TREE.tree, NOW)


@given(st.integers(0, 2), st.integers(0, 5000), st.integers(1, 255))
def test_no_altered_byte_passes(place: int, at: int, change: int) -> None:
    chain = list(node())
    der = bytearray(chain[place])
    der[at % len(der)] ^= change
    chain[place] = bytes(der)
    with pytest.raises(Fault):
        check_chain(chain, TREE.tree, NOW)


def test_the_owners_chain_is_the_shortest() -> None:
    assert check_chain(UP, TREE.tree, NOW).is_owner


def test_what_was_signed_stays_good_when_the_certificate_ends() -> None:
    chain = node()
    with pytest.raises(Fault):
        check_chain(chain, TREE.tree, NOW + 11 * 366 * 86_400)
    assert check_chain(chain, TREE.tree, None).principal == NODE_KEY.principal.id
