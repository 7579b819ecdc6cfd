"""Principals: P-256 key pairs, their ids and their signatures.

A signature is r || s, 64 bytes, ECDSA over SHA-256 with the nonce of RFC 6979: a board without good
randomness at first boot cannot leak its key, and a seeded simulation signs the same bytes twice.
s is kept in the lower half of the group order, so nobody can make a second valid signature from
the first: signed bytes have one form.
"""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from blocktree.fault import Fault, Kind
from blocktree.names import PrincipalId, principal_id

Draw = Callable[[int], bytes]  # so many unpredictable bytes: os.urandom, or a seeded generator's

SIGNATURE_BYTES = 64
SCALAR_BYTES = 32
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CURVE = ec.SECP256R1()
_SIGN = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFY = ec.ECDSA(hashes.SHA256())


class Principal:
    """A public key: who signed, and to whom things are sealed. Equal by id."""

    __slots__ = ("id", "public", "spki")

    def __init__(self, public: ec.EllipticCurvePublicKey) -> None:
        assert isinstance(public.curve, ec.SECP256R1)
        self.public: Final = public
        self.spki: Final = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id: Final[PrincipalId] = principal_id(self.spki)

    @classmethod
    def load(cls, spki: bytes) -> "Principal":
        """Read a SubjectPublicKeyInfo (DER, uncompressed point, 91 bytes).

        Raises:
            Fault: MALFORMED if it is anything but a P-256 key in exactly that form.
        """
        try:
            public = load_der_public_key(spki)
        except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
            raise Fault(Kind.MALFORMED, "not a public key") from cause
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != _CURVE.name:
            raise Fault(Kind.MALFORMED, "not a P-256 public key")
        principal = cls(public)
        if principal.spki != spki:
            raise Fault(Kind.MALFORMED, "a public key in another encoding than ours")
        return principal

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check that this principal signed `message`.

        Raises:
            Fault: DAMAGED if it did not, or if either was altered since.
        """
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        if len(signature) != SIGNATURE_BYTES or s > _ORDER // 2:
            raise Fault(Kind.DAMAGED, "not a signature in the form that we make")
        try:
            self.public.verify(encode_dss_signature(r, s), message, _VERIFY)
        except (InvalidSignature, ValueError) as cause:
            raise Fault(Kind.DAMAGED, "the signature does not match") from cause

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Principal) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Principal({self.id.hex()[:10]}…)"


class Key:
    """A private key. Never printed: its `repr` shows the public id. Equal by id."""

    __slots__ = ("principal", "private")

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        assert isinstance(private.curve, ec.SECP256R1)
        self.private: Final = private
        self.principal: Final = Principal(private.public_key())

    @classmethod
    def generate(cls, draw: Draw) -> "Key":
        """Make a key from 48 drawn bytes (FIPS 186-5 A.2.1, extra random bits)."""
        drawn = draw(48)
        assert len(drawn) == 48
        scalar = int.from_bytes(drawn) % (_ORDER - 1) + 1
        return cls(ec.derive_private_key(scalar, _CURVE))

    @classmethod
    def load(cls, scalar: bytes) -> "Key":
        """Read the 32 bytes of `scalar()`.

        Raises:
            Fault: MALFORMED if they are not a P-256 private scalar.
        """
        value = int.from_bytes(scalar)
        if len(scalar) != SCALAR_BYTES or not 0 < value < _ORDER:
            raise Fault(Kind.MALFORMED, "not a private key")
        return cls(ec.derive_private_key(value, _CURVE))

    def scalar(self) -> bytes:
        """The secret itself, 32 bytes, big-endian: for saving, sealing and the recovery words."""
        return self.private.private_numbers().private_value.to_bytes(SCALAR_BYTES)

    def pem(self) -> bytes:
        """The secret as an unencrypted PKCS #8 PEM block, for TLS libraries."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """Sign `message`: r || s, 64 bytes, the same bytes each time."""
        r, s = decode_dss_signature(self.private.sign(message, _SIGN))
        return r.to_bytes(32) + min(s, _ORDER - s).to_bytes(32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.principal == self.principal

    def __hash__(self) -> int:
        return hash(self.principal)

    def __repr__(self) -> str:
        return f"Key({self.principal!r})"
