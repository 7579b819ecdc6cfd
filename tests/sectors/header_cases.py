"""Headers that are well formed and signed, and headers that are wrong in one chosen place."""

from collections.abc import Callable
from typing import Any

import cbor2

from blocktree.keys import Principal
from blocktree.sectors.check import check_header
from blocktree.sectors.header import (
    INLINE_MAX,
    Cipher,
    FileKind,
    Header,
    SignedHeader,
    load_header,
    sign_header,
    sign_headers,
    verify_header,
)
from blocktree.sectors.inline import seal_attributes, seal_inline
from blocktree.sectors.sector import SectorCipher
from sectors.house import ANNA, BOB, DIR, RING, A, B, access_for, file_id, fresh

_CIPHER = SectorCipher(A, Cipher.AES_256_GCM, RING)
_NONCE = bytes(range(12))
_DIGEST = bytes(range(32))


def made(**fields: Any) -> Header:
    return fresh(**{"file": A, **fields})


def signed(header: Header) -> bytes:
    return sign_header(header, ANNA.key).encoded


def inline(size: int) -> bytes:
    return seal_inline(_CIPHER, bytes(size), _NONCE)


GOOD: dict[str, Header] = {
    "empty": made(),
    "inline": made(size=256, inline=inline(256)),
    "inline_largest": made(size=INLINE_MAX, inline=inline(INLINE_MAX)),
    "sectors": made(size=1 << 30, root=_DIGEST),
    "holes": made(size=1 << 40),
    "small_in_a_sector": made(size=1, root=_DIGEST),
    "plain": made(cipher=Cipher.PLAIN, size=5, inline=bytes(16) + b"hello"),
    "second_version": made(version=2, previous=_DIGEST),
    "second_epoch": made(epoch=2, past_keys=bytes(48)),
    "directory": made(**DIR),
    "directory_inline": made(**DIR, size=60, inline=inline(64)),
    "directory_in_sectors": made(**DIR, size=INLINE_MAX + 1, root=_DIGEST),
    "directory_shared": made(**DIR, access=access_for(A)),
    "link": made(kind=FileKind.SYMLINK, size=6, inline=inline(6), mode=0o777),
    "actor": made(kind=FileKind.ACTOR),
    "attributes": made(
        attributes=seal_attributes(
            A, Cipher.AES_256_GCM, RING, {b"user.mime_type": b"text/plain"}, _NONCE
        )
    ),
    "before_1970": made(mtime_ns=-1, ctime_ns=-1),
}

ILL_FORMED: dict[str, Header] = {
    "version_0": made(version=0),
    "version_1_with_a_previous": made(previous=_DIGEST),
    "version_2_without_a_previous": made(version=2),
    "version_beyond_u32": made(version=1 << 32, previous=_DIGEST),
    "short_file_id": made(file=bytes(15)),
    "short_parent": made(parent=bytes(15)),
    "short_root": made(size=1, root=bytes(31)),
    "root_is_a_hole": made(size=1, root=bytes(32)),
    "short_previous": made(version=2, previous=bytes(31)),
    "its_own_directory": made(parent=A),
    "root_elsewhere": made(file=bytes(16), parent=B, **DIR),
    "root_file": made(file=bytes(16)),
    "inline_and_sectors": made(size=100, inline=inline(100), root=_DIGEST),
    "inline_too_short": made(size=1, inline=bytes(15)),
    "inline_for_a_larger_file": made(size=INLINE_MAX + 1, inline=inline(INLINE_MAX)),
    "link_in_sectors_too_large": made(kind=FileKind.SYMLINK, size=4096, root=_DIGEST),
    "link_without_target": made(kind=FileKind.SYMLINK, size=6),
    "link_plain": made(kind=FileKind.SYMLINK, cipher=Cipher.PLAIN, size=1, inline=bytes(17)),
    "directory_plain": made(**DIR, cipher=Cipher.PLAIN),
    "directory_small_in_sectors": made(**DIR, size=60, root=_DIGEST),
    "directory_large_inline": made(**DIR, size=INLINE_MAX + 1),
    "directory_without_its_entries": made(**DIR, size=60),
    "directory_of_64_KiB_sectors": made(**{**DIR, "sector_size": 65536}),
    "file_with_an_access": made(access=access_for(A)),
    "past_keys_in_epoch_1": made(past_keys=bytes(48)),
    "no_past_keys_in_epoch_2": made(epoch=2),
    "epoch_0": made(epoch=0),
    "epoch_257": made(epoch=257, past_keys=bytes(48)),
    "sectors_of_5000_bytes": made(sector_size=5000),
    "sectors_of_2_KiB": made(sector_size=2048),
    "sectors_of_2_MiB": made(sector_size=2 << 20),
    "size_negative": made(size=-1),
    "size_beyond_s64": made(size=1 << 63),
    "mode_with_a_type": made(mode=0o100644),
    "uid_beyond_u32": made(uid=1 << 32),
    "gid_negative": made(gid=-1),
    "no_links": made(links=0),
    "time_beyond_s64": made(mtime_ns=1 << 63),
}

OVERSIZE: dict[str, Header] = {
    "inline_oversize": made(size=INLINE_MAX, inline=bytes(INLINE_MAX + 33)),
    "attributes_oversize": made(attributes=bytes(17 << 10)),
    "past_keys_oversize": made(epoch=2, past_keys=bytes(9000)),
    "access_oversize": made(**DIR, access=bytes(97 << 10)),
    "header_oversize": made(attributes=bytes(128 << 10)),
}


def _plain(**fields: Any) -> list[Any]:
    plain: list[Any] = cbor2.loads(signed(made(**fields)))
    return plain


def _without_signature() -> bytes:
    return cbor2.dumps(_plain()[:-1])


def _bent(at: int, value: Any) -> bytes:
    plain = _plain()
    plain[at] = value
    return cbor2.dumps(plain)


def _high_s() -> bytes:
    """The other form of the same signature: r, n - s."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    whole = signed(made())
    return whole[:-32] + (order - int.from_bytes(whole[-32:])).to_bytes(32)


def _renamed() -> bytes:
    """Bob's signature under Anna's name."""
    bobs = sign_header(made(), BOB.key)
    return bobs.encoded.replace(BOB.principal, ANNA.principal)


def _longer_integer() -> bytes:
    whole = signed(made())
    at = whole.index(b"\x01", 21)  # the kind, as two bytes
    return whole[:at] + b"\x18" + whole[at:]


BENT: dict[str, tuple[str, Callable[[], bytes]]] = {
    "altered": ("damaged", lambda: _bent(10, 0o777)),
    "signature_altered": ("damaged", lambda: signed(made())[:-1] + b"\0"),
    "signature_in_its_other_form": ("damaged", _high_s),
    "signature_missing": ("malformed", _without_signature),
    "signature_short": ("malformed", lambda: _bent(-1, bytes(63))),
    "signature_absent_as_default": ("damaged", lambda: _bent(-1, bytes(64))),
    "other_writer": ("denied", lambda: sign_header(made(), BOB.key).encoded),
    "writer_renamed": ("damaged", _renamed),
    "field_added": ("malformed", lambda: cbor2.dumps([*_plain(), 0])),
    "field_of_another_type": ("malformed", lambda: _bent(5, "large")),
    "kind_unknown": ("malformed", lambda: _bent(2, 9)),
    "cipher_unknown": ("malformed", lambda: _bent(6, 3)),
    "another_record": ("malformed", lambda: access_for(A)),
    "trailing_byte": ("malformed", lambda: signed(made()) + b"\0"),
    "cut_short": ("malformed", lambda: signed(made())[:-1]),
    "integer_too_long": ("malformed", _longer_integer),
    "indefinite_length": ("malformed", lambda: b"\x9f" + signed(made())[1:] + b"\xff"),
    "nothing": ("malformed", lambda: b""),
}


TOGETHER = [
    one.encoded for one in sign_headers([made(file=file_id(n)) for n in range(1, 4)], ANNA.key)
]
_PLACE = -1 - 2 * 32  # in each of them, before an audit path of two digests


def _together(at: int, value: int) -> bytes:
    """The last of the three with another byte there."""
    whole = bytearray(TOGETHER[-1])
    whole[at] = value
    return bytes(whole)


def _cut(beginning: bytes, count: int) -> bytes:
    """The last without the end of its signature field, which begins so then."""
    whole = TOGETHER[-1]
    field = 64 + 1 + 2 * 32
    return whole[: -field - 2] + beginning + whole[-field:-count]


def _exchanged() -> bytes:
    """The first with the signature field of the second."""
    field = 64 + 1 + 2 * 32
    return TOGETHER[0][:-field] + TOGETHER[1][-field:]


SIGNED_TOGETHER: dict[str, tuple[str, Callable[[], bytes]]] = {
    "together_first": ("ok", lambda: TOGETHER[0]),
    "together_last": ("ok", lambda: TOGETHER[2]),
    "together_altered": ("damaged", lambda: _together(40, 7)),
    "together_at_another_place": ("damaged", lambda: _together(_PLACE, 0)),
    "together_at_no_place": ("damaged", lambda: _together(_PLACE, 6)),
    "together_path_altered": ("damaged", lambda: _together(-1, TOGETHER[-1][-1] ^ 1)),
    "together_path_exchanged": ("damaged", _exchanged),
    "together_path_cut": ("malformed", lambda: _cut(b"\x58\x7f", 2)),
    "together_path_shorter": ("damaged", lambda: _cut(b"\x58\x61", 32)),
    "together_without_path": ("damaged", lambda: _cut(b"\x58\x40", 65)),
}


def check(encoded: bytes, spki: bytes) -> SignedHeader:
    """What a reader or the sector service does with a header."""
    loaded = load_header(encoded)
    check_header(loaded.header)
    verify_header(loaded, Principal.load(spki))
    return loaded


def cases() -> dict[str, tuple[str, bytes]]:
    """Name to verdict and bytes."""
    all_cases = {name: ("ok", signed(header)) for name, header in GOOD.items()}
    all_cases |= {name: ("malformed", signed(header)) for name, header in ILL_FORMED.items()}
    all_cases |= {name: ("too_large", signed(header)) for name, header in OVERSIZE.items()}
    bent = BENT | SIGNED_TOGETHER
    return all_cases | {name: (expect, build()) for name, (expect, build) in bent.items()}
