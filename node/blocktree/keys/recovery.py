"""The root key as 24 words on paper, and back.

The words are BIP-39's English list over the private scalar itself: 256 bits and an 8-bit checksum.
Reading is forgiving in form (case, numbering, line breaks, the first four letters of a word) and
exact in content.
"""

import difflib
import functools
import re
from typing import Final

from mnemonic import Mnemonic

from blocktree.fault import Fault, Kind
from blocktree.keys.principal import Key

WORDS: Final = 24
_TEXT_MAX: Final = 4096
_RETRY = "compare each word with the printed sheet"


def encode_words(key: Key) -> tuple[str, ...]:
    """The 24 recovery words of a key. A secret."""
    return tuple(_list().to_mnemonic(key.scalar()).split())


def decode_words(text: str) -> Key:
    """Read the key back from its words.

    Raises:
        Fault: MALFORMED, naming what is wrong: the count, a word, or their checksum.
    """
    typed = re.findall(r"[^\W\d_]+", text.lower()) if len(text) <= _TEXT_MAX else []
    if len(typed) != WORDS:
        raise Fault(
            Kind.MALFORMED, f"the recovery phrase has {WORDS} words, these are {len(typed)}"
        )
    words = [_recognise(place, word) for place, word in enumerate(typed, start=1)]
    try:
        scalar = bytes(_list().to_entropy(words))
    except ValueError:
        raise Fault(
            Kind.MALFORMED,
            "each word is in the list, but one of them is wrong or two changed places",
            next_step=_RETRY,
        ) from None
    return Key.load(scalar)


def _recognise(place: int, word: str) -> str:
    known = _list().wordlist
    full = str(_list().expand_word(word))
    if full in known:
        return full
    near = difflib.get_close_matches(word, known, n=1)
    advice = f"did you mean {near[0]}?" if near else _RETRY
    raise Fault(Kind.MALFORMED, f"word {place}, {word!r}, is not in the list", next_step=advice)


@functools.cache
def _list() -> Mnemonic:
    return Mnemonic("english")
