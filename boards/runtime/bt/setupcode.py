"""The setup code on a device's label: Crockford base32 of 16 random bytes and a check byte."""

from hashlib import sha256

from bt.fault import USAGE, Fault

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def write(secret):
    """`BT1-XXXX-…` for a setup secret of 16 bytes."""
    bits = int.from_bytes(secret + sha256(secret).digest()[:1], "big") << 4
    letters = "".join([_ALPHABET[bits >> 5 * i & 31] for i in range(27, -1, -1)])
    return "BT1-" + "-".join([letters[i : i + 4] for i in range(0, 28, 4)])


def read(code):
    """The setup secret of a code as people type it.

    Raises:
        Fault: USAGE if it is mistyped.
    """
    text = code.upper().replace("-", "").replace(" ", "")
    text = text.replace("O", "0").replace("I", "1").replace("L", "1")
    if text[:3] != "BT1" or len(text) != 31:
        raise Fault(USAGE, "a setup code is BT1- and seven groups of four")
    bits = 0
    for letter in text[3:]:
        value = _ALPHABET.find(letter)
        if value < 0:
            raise Fault(USAGE, "mistyped: no setup code has the letter " + letter)
        bits = bits << 5 | value
    data = (bits >> 4).to_bytes(17, "big")
    if bits & 15 or sha256(data[:16]).digest()[0] != data[16]:
        raise Fault(USAGE, "mistyped: the check letters do not match")
    return data[:16]


def hint(secret):
    """What a device that can be adopted with this code calls itself."""
    return sha256(b"blocktree setup 1\0" + secret).digest()[:8]
