"""Tickets: one word that pins tree, path, kind and expiry; typos are told from wrong tickets."""

import base64
import hashlib
import zlib
from pathlib import Path as File

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector
from blocktree.fault import Fault, Kind
from blocktree.keys import (
    Key,
    MemberKind,
    check_chain,
    decode_ticket,
    encode_ticket,
    join_from_ticket,
    judge_ticket,
    member_of,
    new_ticket,
)
from blocktree.keys.ticket import PackedTicket
from blocktree.names import Path
from blocktree.wire import encode
from keys.forge import NOW, a_tree, credential, drawn

TREE = a_tree()
PLACE = Path(f"/{TREE.tree}/pi-2")
TICKET = new_ticket(
    TREE.owner, MemberKind.NODE, PLACE, now=NOW, draw=drawn(2), addresses=("192.168.1.4:4433",)
)
WORD = encode_ticket(TICKET)


def packed(scalar: bytes, chain: tuple[bytes, ...]) -> str:
    """A ticket's word for whatever is put in."""
    return wrapped(zlib.compress(encode(PackedTicket(scalar, chain, ()))))


def wrapped(squeezed: bytes) -> str:
    whole = squeezed + hashlib.sha256(squeezed).digest()[:4]
    return "btt1" + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def cases() -> dict[str, tuple[str, str, str]]:
    """Name: what it is, the word, what is expected."""
    scalar, chain = TICKET.credential.key.scalar(), TICKET.credential.chain
    node = credential(TREE, MemberKind.NODE, "pi-1")
    return {
        "good": ("a ticket", WORD, "ok"),
        "lines": (
            "broken into lines",
            "\n".join(WORD[i : i + 64] for i in range(0, len(WORD), 64)),
            "ok",
        ),
        "typo": (
            "one letter another",
            WORD[:300] + "AB"[WORD[300] == "A"] + WORD[301:],
            "malformed",
        ),
        "cut": ("cut short", WORD[:-9], "malformed"),
        "other_case": ("in lower case", WORD.lower(), "malformed"),
        "no_prefix": ("without its prefix", WORD[4:], "malformed"),
        "padded": ("with padding", WORD + "=", "malformed"),
        "empty": ("nothing behind the prefix", "btt1", "malformed"),
        "not_squeezed": ("checksum good, no zlib inside", wrapped(b"abc"), "malformed"),
        "bomb": ("a zlib bomb", wrapped(zlib.compress(bytes(1 << 20))), "malformed"),
        "other_key": (
            "the key of another",
            packed(Key.generate(drawn(9)).scalar(), chain),
            "damaged",
        ),
        "no_ticket": ("a node's credential", packed(node.key.scalar(), node.chain), "malformed"),
        "not_certified": ("a chain cut off", packed(scalar, chain[:-1]), "malformed"),
        "other_root": (
            "under another root",
            packed(scalar, (*chain[:-1], a_tree(seed=2).root)),
            "malformed",
        ),
    }


CASES = cases()
FILES = sorted((vector.FOLDER / "ticket").glob("*.txt"))


@pytest.mark.parametrize("name", CASES)
def test_the_vector_is_what_the_seed_gives(name: str, *, rewrite: bool) -> None:
    why, word, expect = CASES[name]
    headers = {"why": why, "expect": expect}
    if expect == "ok":
        headers |= {"path": TICKET.path, "expires": str(TICKET.mark.expires)}
        headers |= {"id": TICKET.mark.id.hex(), "addresses": " ".join(TICKET.addresses)}
    vector.pin("ticket", name, vector.Vector(headers, [word.encode()]), rewrite=rewrite)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_word_gets_its_verdict(path: File) -> None:
    pinned = vector.load(path)
    word = pinned.values[0].decode()
    assert vector.verdict(lambda: decode_ticket(word)) == pinned.headers["expect"]
    if pinned.headers["expect"] == "ok":
        ticket = decode_ticket(word)
        assert ticket.path == pinned.headers["path"]
        assert ticket.mark.expires == int(pinned.headers["expires"])
        assert ticket.mark.id.hex() == pinned.headers["id"]
        assert " ".join(ticket.addresses) == pinned.headers["addresses"]


def test_a_ticket_survives_its_word() -> None:
    assert decode_ticket(WORD) == TICKET
    assert len(WORD) < 2000


def test_a_typing_error_is_told_from_a_wrong_ticket() -> None:
    with pytest.raises(Fault, match="mistyped or cut short") as caught:
        decode_ticket(CASES["typo"][1])
    assert "bt node invite" in caught.value.next_step
    with pytest.raises(Fault, match="do not belong together"):
        decode_ticket(CASES["other_key"][1])


def test_joining_makes_a_new_key_at_exactly_that_path() -> None:
    first = join_from_ticket(TICKET, now=NOW, draw=drawn(3))
    second = join_from_ticket(TICKET, now=NOW, draw=drawn(4))
    assert first.path == second.path == PLACE
    assert first.principal != second.principal
    identity = check_chain(first.chain, TREE.tree, NOW)
    assert identity.kind is MemberKind.NODE
    assert member_of(identity).ticket == member_of(second.identity).ticket == TICKET.mark.id


def test_an_expired_ticket_is_refused_on_both_sides() -> None:
    joined = join_from_ticket(TICKET, now=NOW, draw=drawn(3))
    later = TICKET.mark.expires + 1
    for judge in (
        lambda: join_from_ticket(TICKET, now=later, draw=drawn(3)),
        lambda: judge_ticket(check_chain(joined.chain, TREE.tree, later), later),
    ):
        with pytest.raises(Fault, match=r"the ticket was good until .* clock says") as caught:
            judge()
        assert caught.value.kind is Kind.EXPIRED


def test_who_joined_stays_after_the_ticket_is_over() -> None:
    joined = join_from_ticket(TICKET, now=NOW, draw=drawn(3))
    check_chain(joined.chain, TREE.tree, NOW + 9 * 365 * 86_400)


def test_a_machine_with_a_late_clock_can_join() -> None:
    earlier = NOW - 300 * 86_400  # no battery: the clock says when its image was built
    joined = join_from_ticket(TICKET, now=earlier, draw=drawn(3))
    check_chain(joined.chain, TREE.tree, NOW)


def test_a_user_invites_below_himself_and_no_nodes() -> None:
    tablet = Path(f"{TREE.user.path}/tablet")
    ticket = new_ticket(TREE.user, MemberKind.PROCESS, tablet, now=NOW, draw=drawn(5))
    identity = join_from_ticket(ticket, now=NOW, draw=drawn(6)).identity
    assert identity.acts_for == TREE.user.principal
    with pytest.raises(Fault) as caught:
        new_ticket(TREE.user, MemberKind.NODE, tablet, now=NOW, draw=drawn(5))
    assert caught.value.kind is Kind.DENIED


@pytest.mark.parametrize("seconds", [0, -1, 91 * 86_400])
def test_a_ticket_lives_a_bounded_time(seconds: int) -> None:
    with pytest.raises(Fault) as caught:
        new_ticket(TREE.owner, MemberKind.NODE, PLACE, now=NOW, draw=drawn(5), seconds=seconds)
    assert caught.value.kind is Kind.USAGE


def test_a_ticket_holds_a_bounded_number_of_addresses() -> None:
    for addresses in (("a:1",) * 17, ("a" * 256,)):
        with pytest.raises(Fault) as caught:
            new_ticket(
                TREE.owner, MemberKind.NODE, PLACE, now=NOW, draw=drawn(5), addresses=addresses
            )
        assert caught.value.kind is Kind.USAGE


def test_printing_a_ticket_does_not_show_its_secret() -> None:
    assert str(TICKET) == f"ticket for {PLACE}"
    assert TICKET.credential.key.scalar().hex() not in repr(TICKET)


@given(st.text(max_size=200))
def test_any_text_is_a_fault(text: str) -> None:
    for word in (text, "btt1" + text):
        with pytest.raises(Fault):
            decode_ticket(word)


@given(st.binary(max_size=300))
def test_anything_behind_a_good_checksum_is_a_fault(junk: bytes) -> None:
    for word in (wrapped(junk), wrapped(zlib.compress(junk))):
        with pytest.raises(Fault):
            decode_ticket(word)
