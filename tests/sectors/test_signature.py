"""One signature over several headers: each is verified alone, and none can be changed."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.keys import Principal
from blocktree.sectors.check import check_commit
from blocktree.sectors.header import (
    SignedHeader,
    load_header,
    sign_header,
    sign_headers,
    verify_header,
)
from blocktree.sectors.signature import TOGETHER_MAX, Known, sign_together, verify_field
from blocktree.sectors.transaction import Change, Transaction
from blocktree.wire import encode
from sectors.house import ANNA, BOB, file_id, fresh

MESSAGES = [b"message %d" % number for number in range(TOGETHER_MAX)]
FIELDS = {count: sign_together(MESSAGES[:count], ANNA.key) for count in (1, 2, 3, 7, 8, 33, 256)}


class Counting(Principal):
    """Anna, who counts how often she is asked about a signature."""

    def __init__(self) -> None:
        super().__init__(ANNA.key.principal.public)
        self.asked = 0

    def verify(self, signature: bytes, message: bytes) -> None:
        self.asked += 1
        super().verify(signature, message)


def kind_of(field: bytes, message: bytes) -> Kind | None:
    try:
        verify_field(ANNA.key.principal, field, message)
    except Fault as fault:
        return fault.kind
    return None


@pytest.mark.parametrize("count", FIELDS)
def test_each_of_what_was_signed_together_is_verified_alone(count: int) -> None:
    for message, field in zip(MESSAGES[:count], FIELDS[count], strict=True):
        assert kind_of(field, message) is None
        with pytest.raises(Fault):
            verify_field(BOB.key.principal, field, message)


@pytest.mark.parametrize("count", FIELDS)
def test_no_field_is_good_for_another_message(count: int) -> None:
    for field in FIELDS[count]:
        good = [message for message in MESSAGES if kind_of(field, message) is None]
        assert len(good) == 1


@given(st.sampled_from(sorted(FIELDS)), st.integers(0, 255), st.integers(0), st.integers(1, 255))
def test_no_byte_of_a_field_can_change(count: int, place: int, at: int, flip: int) -> None:
    field = bytearray(FIELDS[count][place % count])
    field[at % len(field)] ^= flip
    assert kind_of(bytes(field), MESSAGES[place % count]) is Kind.DAMAGED


@pytest.mark.parametrize("size", [0, 1, 63, 65, 66, 96, 98, 128, 130, 64 + 1 + 9 * 32])
def test_a_field_of_another_length_is_refused(size: int) -> None:
    assert kind_of((FIELDS[256][0] + bytes(64))[:size], MESSAGES[0]) is Kind.DAMAGED


def test_an_inner_node_is_no_message() -> None:
    """Whoever knows the tree cannot pass two digests of it off as something signed."""
    field = FIELDS[8][0]
    signature, path = field[:64], field[65:]
    inner = b"\1" + path[:32] + path[:32]
    assert kind_of(signature + b"\0" + path[32:], inner) is Kind.DAMAGED


def test_headers_signed_together_are_what_they_are_alone_but_for_the_signature() -> None:
    headers = [fresh(file_id(number)) for number in range(1, 6)]
    for header, signed in zip(headers, sign_headers(headers, ANNA.key), strict=True):
        assert load_header(signed.encoded) == signed
        alone = sign_header(header, ANNA.key).encoded
        assert signed.encoded.startswith(alone[:-66])
        verify_header(signed, ANNA.key.principal)


def test_a_transaction_costs_one_signature_however_many_headers_it_has() -> None:
    headers = [fresh(file_id(number)) for number in range(1, 49)]
    signed = sign_headers(headers, ANNA.key)
    assert _asked(_changes(signed)) == 1
    assert _asked(_changes([sign_header(header, ANNA.key) for header in headers])) == 48


def test_a_header_in_a_transaction_cannot_borrow_the_signature_of_another() -> None:
    signed = sign_headers([fresh(file_id(number)) for number in (1, 2)], ANNA.key)
    forged = sign_headers([fresh(file_id(number), mode=0o777) for number in (1, 2)], BOB.key)
    field = 64 + 1 + 32
    mixed = forged[1].encoded.replace(BOB.principal, ANNA.principal)
    mixed = mixed[:-field] + signed[1].encoded[-field:]
    changes = [*_changes(signed[:1]), Change(file_id(2), 0, mixed)]
    with pytest.raises(Fault) as caught:
        _asked(changes)
    assert caught.value.kind is Kind.DAMAGED
    assert caught.value.path == file_id(2).hex()


def test_what_is_known_is_bounded_and_of_one_signer() -> None:
    anna, known = Counting(), Known(most=2)
    for count in (2, 3, 2, 7, 3, 2):  # the third is known; the fourth drives out the first
        verify_field(anna, FIELDS[count][1], MESSAGES[1], known)
    assert anna.asked == 4
    with pytest.raises(Fault):
        verify_field(BOB.key.principal, FIELDS[2][1], MESSAGES[1], known)


def test_what_did_not_hold_is_not_known() -> None:
    anna, known = Counting(), Known()
    bent = FIELDS[2][1][:-1] + b"\0"
    for _ in range(2):
        with pytest.raises(Fault):
            verify_field(anna, bent, MESSAGES[1], known)
    assert anna.asked == 2


def _changes(signed: Sequence[SignedHeader]) -> list[Change]:
    return [Change(one.header.file, 0, one.encoded) for one in signed]


def _asked(changes: Sequence[Change]) -> int:
    anna = Counting()
    check_commit(encode(Transaction(tuple(changes))), anna)
    return anna.asked
