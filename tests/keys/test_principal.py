"""Keys and signatures: one form, the same bytes each time, refused when anything differs."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.keys import Key, Principal
from keys.forge import drawn, other_curve

KEY = Key.generate(drawn(1))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_a_signature_verifies_and_is_the_same_each_time() -> None:
    signature = KEY.sign(b"message")
    assert len(signature) == 64
    assert KEY.sign(b"message") == signature
    KEY.principal.verify(signature, b"message")


def test_signing_follows_rfc_6979() -> None:
    """Appendix A.2.5, P-256 with SHA-256, message "sample"; s is the lower of the two."""
    key = Key.load(
        bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
    )
    r = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    s = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    assert key.sign(b"sample").hex() == r + (ORDER - s).to_bytes(32).hex()


@given(st.binary(max_size=200), st.integers(0, 63), st.integers(1, 255))
def test_an_altered_signature_is_refused(message: bytes, at: int, change: int) -> None:
    signature = bytearray(KEY.sign(message))
    signature[at] ^= change
    with pytest.raises(Fault) as caught:
        KEY.principal.verify(bytes(signature), message)
    assert caught.value.kind is Kind.DAMAGED


@pytest.mark.parametrize("size", [0, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(Fault, match="not a signature"):
        KEY.principal.verify(bytes(size), b"message")


def test_the_second_valid_signature_of_ecdsa_is_refused() -> None:
    signature = KEY.sign(b"message")
    mirrored = signature[:32] + (ORDER - int.from_bytes(signature[32:])).to_bytes(32)
    with pytest.raises(Fault, match="not a signature in the form"):
        KEY.principal.verify(mirrored, b"message")


def test_another_key_did_not_sign_it() -> None:
    with pytest.raises(Fault, match="does not match"):
        Key.generate(drawn(2)).principal.verify(KEY.sign(b"message"), b"message")


def test_a_key_is_saved_and_loaded_by_its_scalar() -> None:
    assert Key.load(KEY.scalar()).principal == KEY.principal


@pytest.mark.parametrize("value", [0, ORDER, (1 << 256) - 1])
def test_a_number_outside_the_group_is_no_key(value: int) -> None:
    with pytest.raises(Fault, match="not a private key"):
        Key.load(value.to_bytes(32))


def test_a_principal_is_read_from_its_public_key() -> None:
    assert Principal.load(KEY.principal.spki) == KEY.principal
    assert len({Principal.load(KEY.principal.spki), KEY.principal}) == 1


def test_a_public_key_in_another_form_is_refused() -> None:
    compressed = KEY.principal.public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    short = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), compressed)
    spki = short.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert Principal.load(spki) == KEY.principal  # the same point is written out in full
    p384 = other_curve().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (b"", spki[:-1], spki + b"\0", p384, compressed):
        with pytest.raises(Fault) as caught:
            Principal.load(wrong)
        assert caught.value.kind is Kind.MALFORMED


def test_secrets_are_not_printed() -> None:
    assert KEY.scalar().hex()[:8] not in repr(KEY)
    assert str(KEY.private.private_numbers().private_value) not in repr(KEY)
