"""How another person comes to belong: strings that are copied by hand."""

import pytest

from blocktree.fault import Fault, Kind
from blocktree.keys import (
    Welcome,
    decode_request,
    decode_welcome,
    encode_request,
    encode_welcome,
)
from keys.forge import a_tree

TREE = a_tree()
WELCOME = Welcome(TREE.user.chain, ("192.168.1.41:7400",))


def test_a_request_shows_a_key_and_a_welcome_answers_it() -> None:
    asked = encode_request(TREE.user.key.principal)
    assert asked.startswith("btq1")
    assert decode_request(f" {asked[:40]}\n{asked[40:]} ") == TREE.user.key.principal
    answer = decode_welcome(encode_welcome(WELCOME))
    assert answer == WELCOME
    assert answer.identity == TREE.user.identity


@pytest.mark.parametrize("at", [4, 30, -1])
def test_a_typing_error_is_noticed(at: int) -> None:
    for text, read in (
        (encode_request(TREE.user.key.principal), decode_request),
        (encode_welcome(WELCOME), decode_welcome),
    ):
        letters = list(text)
        letters[at] = "A" if letters[at] != "A" else "B"
        for wrong in ("".join(letters), text[:-5], text.removeprefix("bt"), ""):
            with pytest.raises(Fault) as refused:
                read(wrong)
            assert refused.value.kind is Kind.MALFORMED


def test_a_welcome_is_for_a_person() -> None:
    with pytest.raises(Fault, match="something else than a person"):
        decode_welcome(encode_welcome(Welcome(TREE.owner.chain)))
    with pytest.raises(Fault, match="too many"):
        Welcome(TREE.user.chain, ("pi:1",) * 17)
