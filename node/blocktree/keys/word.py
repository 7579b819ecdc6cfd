"""Bytes as one word that survives copying, mail and QR codes: a mark, base64url, and a checksum.

Tickets, requests and welcomes are such words; `SPEC.md` states them.
"""

import base64
import binascii
import hashlib
from typing import Final

from blocktree.fault import Fault, Kind

TEXT_MAX: Final = 16 << 10
_CHECK_BYTES: Final = 4


def wrap(mark: str, data: bytes) -> str:
    """The word of these bytes."""
    whole = data + hashlib.sha256(data).digest()[:_CHECK_BYTES]
    return mark + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def unwrap(mark: str, text: str, what: str, retry: str) -> bytes:
    """The bytes in a word; white space and line breaks inside it do not matter.

    Args:
        mark: how it begins.
        text: as it was typed.
        what: the word's name, for faults.
        retry: the next step when it was mistyped.

    Raises:
        Fault: MALFORMED for something else or a typing error, each with its sentence.
    """
    word = "".join(text.split()) if len(text) <= TEXT_MAX else ""
    if not word.startswith(mark):
        raise Fault(Kind.MALFORMED, f"not a {what}: it does not start with {mark}")
    letters = word.removeprefix(mark)
    padded = letters + "=" * (-len(letters) % 4)
    try:
        whole = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    data = whole[:-_CHECK_BYTES]
    if not data or wrap(mark, data) != word:
        raise Fault(Kind.MALFORMED, f"the {what} is mistyped or cut short", next_step=retry)
    return data
