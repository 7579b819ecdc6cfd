"""HMAC-SHA256 (RFC 2104) and HKDF (RFC 5869) from the one hash that every board has."""

from hashlib import sha256

_BLOCK = 64


def hmac(key, message):
    """The 32-byte HMAC-SHA256 of `message`."""
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    key = key + bytes(_BLOCK - len(key))
    inner = sha256(bytes([b ^ 0x36 for b in key]))
    inner.update(message)
    outer = sha256(bytes([b ^ 0x5C for b in key]))
    outer.update(inner.digest())
    return outer.digest()


def hkdf(salt, secret, purpose, size):
    """`size` bytes derived from `secret` for one `purpose`."""
    prk = hmac(salt, secret)
    made = block = b""
    count = 0
    while len(made) < size:
        count += 1
        block = hmac(prk, block + purpose + bytes([count]))
        made += block
    return made[:size]
