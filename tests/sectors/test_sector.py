"""Sealed sectors and what a header holds sealed, pinned by vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector
from blocktree.caps import KeyRing
from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.sectors.header import INLINE_MAX, Cipher
from blocktree.sectors.inline import (
    ATTRIBUTES_MAX,
    open_attributes,
    open_inline,
    seal_attributes,
    seal_inline,
)
from blocktree.sectors.sector import (
    ATTRIBUTES_INDEX,
    INLINE_INDEX,
    OVERHEAD_MAX,
    SectorCipher,
    epoch_of,
    nonce_of,
)
from keys.forge import drawn
from sectors.header_cases import made
from sectors.house import A, B

FOLDER = vector.FOLDER / "sector"
ONE = KeyRing.start(drawn(61))
TWO = ONE.advance(drawn(62))
NONCE = bytes(range(12))
TEXT = b"a sector of a file, sealed for its place"
GCM, CHACHA, PLAIN = Cipher.AES_256_GCM, Cipher.CHACHA20_POLY1305, Cipher.PLAIN
CIPHERS = (GCM, CHACHA, PLAIN)


@dataclass(frozen=True)
class Case:
    """A blob as `sealed` made and `bend` changed it, opened as `file`, `index` with `ring`."""

    cipher: Cipher
    expect: str = "ok"
    file: FileId = A
    index: int = 5
    ring: KeyRing = ONE
    sealed_file: FileId = A
    sealed_index: int = 5
    sealed_ring: KeyRing = ONE
    content: bytes = TEXT
    bend: Callable[[bytes], bytes] = bytes

    def blob(self) -> bytes:
        cipher = SectorCipher(self.sealed_file, self.cipher, self.sealed_ring)
        return self.bend(bytes(cipher.seal(self.sealed_index, self.content, NONCE)))


def cases() -> dict[str, Case]:
    made_cases: dict[str, Case] = {}
    for cipher in CIPHERS:
        name = cipher.name.lower()
        made_cases |= {
            name: Case(cipher),
            f"{name}_empty": Case(cipher, content=b""),
            f"{name}_of_an_earlier_epoch": Case(cipher, ring=TWO),
            f"{name}_of_the_second_epoch": Case(cipher, ring=TWO, sealed_ring=TWO),
            f"{name}_cut_short": Case(cipher, "damaged", bend=lambda b: b[:15]),
        }
    for cipher in (GCM, CHACHA):
        name = cipher.name.lower()
        made_cases |= {
            f"{name}_bad_tag": Case(cipher, "damaged", bend=lambda b: b[:-1] + b"\0"),
            f"{name}_bad_content": Case(
                cipher, "damaged", bend=lambda b: b[:16] + bytes([b[16] ^ 1]) + b[17:]
            ),
            f"{name}_bad_nonce": Case(cipher, "damaged", bend=lambda b: b[:15] + b"\0" + b[16:]),
            f"{name}_without_a_tag": Case(cipher, "damaged", bend=lambda b: b[:31]),
            f"{name}_wrong_index": Case(cipher, "damaged", index=6),
            f"{name}_inline_as_a_sector": Case(cipher, "damaged", sealed_index=INLINE_INDEX),
            f"{name}_wrong_file": Case(cipher, "damaged", file=B),
            f"{name}_wrong_epoch": Case(
                cipher, "damaged", ring=TWO, bend=lambda b: b"\0\0\0\2" + b[4:]
            ),
            f"{name}_epoch_without_a_key": Case(cipher, "denied", sealed_ring=TWO),
        }
    return made_cases


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_vector_is_what_the_seed_gives(name: str, *, rewrite: bool) -> None:
    case = CASES[name]
    headers = {
        "expect": case.expect,
        "cipher": case.cipher.name,
        "file": case.file.hex(),
        "index": str(case.index),
        "values": "blob, content, then the keys by epoch",
    }
    values = [case.blob(), case.content or b"", *case.ring.keys]
    if not case.content:
        headers["values"] = "blob, then the keys by epoch; the content is empty"
        values.pop(1)
    vector.pin("sector", name, vector.Vector(headers, values), rewrite=rewrite)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_a_sector_opens_as_its_vector_says(name: str) -> None:
    pinned = vector.load(FOLDER / f"{name}.txt")
    blob, *rest = pinned.values
    content = b"" if "empty" in pinned.headers["values"] else rest.pop(0)
    file = FileId(bytes.fromhex(pinned.headers["file"]))
    cipher = SectorCipher(file, Cipher[pinned.headers["cipher"]], KeyRing(tuple(rest)))
    index = int(pinned.headers["index"])
    assert vector.verdict(lambda: cipher.open(index, blob)) == pinned.headers["expect"]
    if pinned.headers["expect"] == "ok":
        assert cipher.open(index, blob) == content


@pytest.mark.parametrize("cipher", CIPHERS)
def test_sealing_into_a_buffer_and_sealing_again_give_the_same_bytes(cipher: Cipher) -> None:
    sealer = SectorCipher(A, cipher, TWO)
    blob = sealer.seal(7, memoryview(TEXT), NONCE)
    assert len(blob) == sealer.sealed_size(len(TEXT)) <= len(TEXT) + OVERHEAD_MAX
    buffer = bytearray(len(blob) + 2)
    sealer.seal_into(7, bytearray(TEXT), NONCE, memoryview(buffer)[1:-1])
    assert buffer[1:-1] == blob
    assert (nonce_of(blob), epoch_of(blob)) == (NONCE, 2)
    assert sealer.seal(7, sealer.open(7, memoryview(blob)), nonce_of(blob)) == blob


@pytest.mark.parametrize("cipher", [GCM, CHACHA])
def test_no_byte_of_a_sealed_sector_can_change(cipher: Cipher) -> None:
    sealer = SectorCipher(A, cipher, ONE)
    blob = sealer.seal(0, TEXT, NONCE)
    for at in range(len(blob)):
        bent = bytearray(blob)
        bent[at] ^= 1
        with pytest.raises(Fault) as caught:
            sealer.open(0, bent)
        assert caught.value.kind in {Kind.DAMAGED, Kind.DENIED}
        assert caught.value.path == A.hex()


@given(st.sampled_from(CIPHERS), st.binary(max_size=80))
def test_bytes_that_are_no_sector_get_a_fault(cipher: Cipher, blob: bytes) -> None:
    sealer = SectorCipher(A, cipher, ONE)
    if cipher is PLAIN and len(blob) >= 16:
        assert sealer.open(0, blob) == blob[16:]
        return
    with pytest.raises(Fault):
        sealer.open(0, blob)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_small_content_lives_in_the_header(cipher: Cipher) -> None:
    sealer = SectorCipher(A, cipher, ONE)
    sealed = seal_inline(sealer, TEXT, NONCE)
    assert open_inline(sealer, made(cipher=cipher, inline=sealed, size=len(TEXT))) == TEXT
    assert seal_inline(sealer, b"", NONCE) == b""
    assert open_inline(sealer, made()) == b""
    with pytest.raises(Fault) as caught:
        seal_inline(sealer, bytes(INLINE_MAX + 1), NONCE)
    assert caught.value.kind is Kind.TOO_LARGE


@pytest.mark.parametrize("cipher", CIPHERS)
def test_attributes_are_sealed_even_of_a_public_file(cipher: Cipher) -> None:
    attributes = {b"user.b": b"secret words", b"user.a": b""}
    sealed = seal_attributes(A, cipher, ONE, attributes, NONCE)
    assert b"secret" not in sealed
    assert b"user" not in sealed
    header = made(cipher=cipher, attributes=sealed)
    assert open_attributes(header, ONE) == attributes
    assert open_attributes(header, TWO) == attributes
    assert seal_attributes(A, cipher, ONE, {}, NONCE) == b""
    assert open_attributes(made(), ONE) == {}
    with pytest.raises(Fault) as caught:
        seal_attributes(A, cipher, ONE, {b"user.a": bytes(ATTRIBUTES_MAX)}, NONCE)
    assert caught.value.kind is Kind.TOO_LARGE
    with pytest.raises(Fault) as caught:
        open_attributes(made(file=B, cipher=cipher, attributes=sealed), ONE)
    assert caught.value.kind is Kind.DAMAGED


def test_inline_content_and_attributes_do_not_stand_for_each_other() -> None:
    sealer = SectorCipher(A, GCM, ONE)
    for sealed, index in ((INLINE_INDEX, ATTRIBUTES_INDEX), (ATTRIBUTES_INDEX, 0)):
        with pytest.raises(Fault):
            sealer.open(index, sealer.seal(sealed, TEXT, NONCE))
