"""AES-CCM-16-64-128 (RFC 3610 with L = 2 and M = 8; COSE algorithm 10).

Stock firmware has no CTR mode: the tag is the last block of one CBC call, and the key stream is one
ECB call over the counter blocks. Nothing here is constant time beyond what the AES underneath is.
"""

try:
    from cryptolib import aes
except ImportError:
    from bt.aes_cpython import aes

from bt.fault import DAMAGED, TOO_LARGE, Fault

TAG = 8
_LARGEST = 4096  # a kilobyte takes twelve of heap; nothing that we seal is longer
_ZERO = bytes(16)


def seal(key, nonce, aad, plain):
    """`plain` under `key` (16) and `nonce` (13), bound to `aad`: ciphertext and 8 bytes of tag."""
    if len(plain) > _LARGEST:
        raise Fault(TOO_LARGE, "too long to seal")
    stream = _stream(key, nonce, len(plain))
    return _xor(plain, stream, 16) + _xor(_tag(key, nonce, aad, plain), stream, 0)


def open(key, nonce, aad, sealed):  # noqa: A001 - the pair of seal
    """What was sealed.

    Raises:
        Fault: DAMAGED if the tag does not match, TOO_LARGE if it is longer than anything sealed.
    """
    size = len(sealed) - TAG
    if size < 0:
        raise Fault(DAMAGED, "shorter than a tag")
    if size > _LARGEST:
        raise Fault(TOO_LARGE, "too long to open")
    stream = _stream(key, nonce, size)
    plain = _xor(sealed[:size], stream, 16)
    if not same(_xor(_tag(key, nonce, aad, plain), stream, 0), sealed[size:]):
        raise Fault(DAMAGED, "the tag does not match")
    return plain


def nonce_of(iv, count):
    """The 13-byte nonce of message `count`: iv XOR the count as a 13-byte integer."""
    return iv[:9] + _xor(iv[9:], count.to_bytes(4, "big"), 0)


def same(a, b):
    """Equality that looks at every byte."""
    if len(a) != len(b):
        return False
    differs = 0
    for i in range(len(a)):
        differs |= a[i] ^ b[i]
    return differs == 0


def _xor(data, stream, start):
    if not data:
        return b""
    size = len(data)
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream[start : start + size], "big")
    return mixed.to_bytes(size, "big")


def _stream(key, nonce, size):
    count = 1 + (size + 15) // 16
    blocks = bytearray(16 * count)
    for i in range(count):
        blocks[16 * i] = 1
        blocks[16 * i + 1 : 16 * i + 14] = nonce
        blocks[16 * i + 14] = i >> 8
        blocks[16 * i + 15] = i & 255
    return aes(key, 1).encrypt(blocks)


def _tag(key, nonce, aad, plain):
    first = bytes([0x59 if aad else 0x19]) + nonce + len(plain).to_bytes(2, "big")
    head = len(aad).to_bytes(2, "big") + aad if aad else b""
    blocks = first + head + bytes(-len(head) % 16) + plain + bytes(-len(plain) % 16)
    return aes(key, 2, _ZERO).encrypt(blocks)[-16:][:TAG]
