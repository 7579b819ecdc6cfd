"""The root key on paper: 24 words out, the same key back, and each typing error named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.keys import Key, decode_words, encode_words, restore_owner
from keys.forge import NOW, a_tree, drawn

TREE = a_tree()
WORDS = list(TREE.words)


def test_the_words_give_the_key_back() -> None:
    key = Key.generate(drawn(5))
    words = encode_words(key)
    assert len(words) == 24
    assert decode_words(" ".join(words)).principal == key.principal


def test_the_words_are_those_of_bip_39() -> None:
    """The reference vectors of BIP-39 (python-mnemonic's vectors.json), 256 bits of 7f."""
    expected = "legal winner thank year wave sausage worth useful " * 2
    words = encode_words(Key.load(bytes([0x7F] * 32)))
    assert " ".join(words) == expected + "legal winner thank year wave sausage worth title"


@pytest.mark.parametrize(
    "typed",
    [
        "\n".join(WORDS).upper(),
        "  ".join(f"{place}. {word}" for place, word in enumerate(WORDS, start=1)),
        " ".join(word[:4] for word in WORDS),
        ", ".join(WORDS),
    ],
    ids=["upper case", "numbered", "four letters", "commas"],
)
def test_the_form_of_what_is_typed_does_not_matter(typed: str) -> None:
    assert encode_words(decode_words(typed)) == TREE.words


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (WORDS[:-1], "has 24 words, these are 23"),
        ([], "these are 0"),
        ([*WORDS[:6], "qqqqq", *WORDS[7:]], "word 7, 'qqqqq', is not in the list"),
        ([WORDS[1], WORDS[0], *WORDS[2:]], "one of them is wrong or two changed places"),
    ],
)
def test_each_typing_error_has_its_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(Fault, match=sentence) as caught:
        decode_words(" ".join(words))
    assert caught.value.kind is Kind.MALFORMED


def test_a_near_word_is_suggested() -> None:
    with pytest.raises(Fault) as caught:
        decode_words(" ".join(["abandonn", *WORDS[1:]]))
    assert caught.value.next_step == "did you mean abandon?"


@given(st.text(max_size=300))
def test_any_text_is_a_fault(text: str) -> None:
    with pytest.raises(Fault):
        decode_words(text)


def test_the_owner_comes_back_from_the_words_and_old_chains_hold() -> None:
    owner = restore_owner(" ".join(WORDS), tree=TREE.tree, now=NOW, draw=drawn(8))
    assert owner.path == TREE.owner.path
    assert owner.principal != TREE.owner.principal
    assert owner.chain[-1] == TREE.root == TREE.user.chain[-1]


def test_the_words_of_another_tree_are_told_apart() -> None:
    with pytest.raises(Fault) as caught:
        restore_owner(" ".join(a_tree(seed=2).words), tree=TREE.tree, now=NOW, draw=drawn(8))
    assert caught.value.kind is Kind.WRONG_TREE
