"""ECDSA on P-256 with SHA-256 (FIPS 186-5, nonces by RFC 6979), in slices.

No board shows its elliptic curves to Python, so this is plain integers: about a second on a small
board and not constant time, which is why a checkpoint is all that it signs. The long parts are
generators that yield often; `finish` runs one at once, an actor runs it between other work.
"""

from hashlib import sha256

from bt.hkdf import hmac

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
_GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5
_SPKI = b"0Y0\x13\x06\x07*\x86H\xce=\x02\x01\x06\x08*\x86H\xce=\x03\x01\x07\x03B\0"
_SLICE = 4  # bits of the scalar between two yields


def public_key(scalar):
    """Steps to the uncompressed point (65 bytes) of a 32-byte scalar; the generator returns it."""
    x, y = yield from _multiply(int.from_bytes(scalar, "big"))
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def principal_id(point):
    """SHA-256 of the SubjectPublicKeyInfo around an uncompressed point."""
    return sha256(_SPKI + point).digest()


def sign(scalar, message):
    """Steps to the signature (r, s; 64 bytes; s in its lower form); the generator returns it."""
    digest = sha256(message).digest()
    secret = int.from_bytes(scalar, "big")
    k = _nonce(scalar, digest)
    x, _y = yield from _multiply(k)
    r = x % N
    s = pow(k, N - 2, N) * (int.from_bytes(digest, "big") + r * secret) % N
    if s > N // 2:
        s = N - s
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def finish(steps):
    """Run the steps to their end and give what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _nonce(scalar, digest):
    """RFC 6979, section 3.2."""
    reduced = (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    v, key = b"\1" * 32, bytes(32)
    for mark in (b"\0", b"\1"):
        key = hmac(key, v + mark + scalar + reduced)
        v = hmac(key, v)
    while True:
        v = hmac(key, v)
        k = int.from_bytes(v, "big")
        if 0 < k < N:
            return k
        key = hmac(key, v + b"\0")
        v = hmac(key, v)


def _multiply(k):
    """The affine point k·G by double-and-add in Jacobian coordinates (Hankerson et al., 3.2)."""
    x, y, z = _GX, _GY, 1
    mask = 1
    while mask << 1 <= k:
        mask <<= 1
    count = 0
    while mask > 1:
        mask >>= 1
        x, y, z = _double(x, y, z)
        if k & mask:
            x, y, z = _add(x, y, z)
        count += 1
        if count % _SLICE == 0:
            yield
    inverse = pow(z, P - 2, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


def _double(x, y, z):
    d = z * z % P
    g = y * y % P
    b = x * g % P
    a = 3 * (x - d) * (x + d) % P
    x3 = (a * a - 8 * b) % P
    z3 = ((y + z) * (y + z) - g - d) % P
    return x3, (a * (4 * b - x3) - 8 * g * g) % P, z3


def _add(x, y, z):
    """(x, y, z) + G; never of equal or opposite points within a scalar below N."""
    zz = z * z % P
    h = (_GX * zz - x) % P
    r = (_GY * zz * z - y) % P
    hh = h * h % P
    hhh = h * hh % P
    v = x * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y * hhh) % P, z * h % P
