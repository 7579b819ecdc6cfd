"""Read caps and key rings: the granted can open, the revoked cannot open what is written later."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

import vector
from blocktree.caps import (
    KeyRing,
    Right,
    check_accesses,
    open_key,
    open_read_cap,
    open_ring,
    revoke,
    rights_of,
    seal_key,
    share,
)
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Key
from blocktree.names import FileId
from caps.home import (
    ANNA,
    BOB,
    CAROL,
    HOLIDAYS,
    LAPTOP,
    NODE,
    PHOTOS,
    RING,
    ROOT_ACCESS,
    TREE,
    give,
    identify,
    sealed_access,
)
from keys.forge import drawn

READ = Right.READ
SHARED = sealed_access(ANNA, PHOTOS, [give(BOB, READ), give(CAROL, READ)], [ANNA, BOB, CAROL])


def written(ring: KeyRing, text: bytes) -> tuple[int, bytes]:
    """Something sealed the way sectors are: under the ring's present key, epoch beside it."""
    return ring.epoch, AESGCM(ring.current).encrypt(bytes(12), text, None)


def read(ring: KeyRing, sealed: tuple[int, bytes]) -> bytes:
    epoch, box = sealed
    return AESGCM(ring.key(epoch)).decrypt(bytes(12), box, None)


@pytest.mark.parametrize("reader", [ANNA, BOB, CAROL], ids=["anna", "bob", "other tree"])
def test_who_has_a_read_cap_opens_the_key(reader: Credential) -> None:
    assert open_read_cap(SHARED, reader.key) == RING.current


@pytest.mark.parametrize("other", [NODE, LAPTOP], ids=["node", "laptop"])
def test_who_has_none_is_denied(other: Credential) -> None:
    with pytest.raises(Fault, match="no read cap") as caught:
        open_read_cap(SHARED, other.key)
    assert caught.value.kind is Kind.DENIED


def test_the_revoked_cannot_open_what_is_written_later() -> None:
    before = written(RING, b"old")
    old_key = open_read_cap(SHARED, BOB.key)

    access, ring = revoke(
        SHARED,
        ANNA,
        subjects=[BOB.principal],
        remaining=[ANNA.key.principal, CAROL.key.principal],
        ring=RING,
        draw=drawn(5),
    )
    after, past = written(ring, b"new"), ring.seal_past(PHOTOS)

    check_accesses([ROOT_ACCESS, access], identify, TREE.tree)
    assert rights_of(CAROL.identity, [ROOT_ACCESS, access]) == READ
    carols = open_ring(open_read_cap(access, CAROL.key), access.epoch, past, PHOTOS)
    assert (read(carols, before), read(carols, after)) == (b"old", b"new")

    with pytest.raises(Fault, match="no read cap"):
        open_read_cap(access, BOB.key)
    for cap in access.read_caps:
        with pytest.raises(Fault, match="does not open"):
            open_key(cap.sealed, BOB.key, PHOTOS, 2)
    bobs = open_ring(old_key, 1, b"", PHOTOS)
    with pytest.raises(Fault, match="no key for epoch 2"):
        read(bobs, after)
    with pytest.raises(InvalidTag):
        AESGCM(old_key).decrypt(bytes(12), after[1], None)
    with pytest.raises(Fault) as caught:
        open_ring(old_key, 2, past, PHOTOS)
    assert caught.value.kind is Kind.DAMAGED
    assert read(bobs, before) == b"old"  # what he could read before, he may have kept


def test_a_grant_to_a_path_is_revoked_by_that_path() -> None:
    access = share(SHARED, ANNA, grants=[give(BOB.path, Right.WRITE)], readers=[], ring=RING)
    assert rights_of(BOB.identity, [ROOT_ACCESS, access]) == READ | Right.WRITE
    less, _ = revoke(access, ANNA, subjects=[BOB.path], remaining=[], ring=RING, draw=drawn(5))
    assert rights_of(BOB.identity, [ROOT_ACCESS, less]) == READ


def test_sharing_adds_and_takes_from_nobody() -> None:
    more = share(
        SHARED,
        ANNA,
        grants=[give(LAPTOP, READ), give(BOB, READ)],
        readers=[LAPTOP.key.principal, BOB.key.principal],
        ring=RING,
    )
    assert (more.version, more.epoch) == (2, 1)
    assert more.readers == SHARED.readers | {LAPTOP.principal}
    assert len(more.grants) == len(SHARED.grants) + 1
    for reader in (ANNA, BOB, CAROL, LAPTOP):
        assert open_read_cap(more, reader.key) == RING.current


def test_sharing_with_an_outdated_ring_is_a_conflict() -> None:
    with pytest.raises(Fault) as caught:
        share(SHARED, ANNA, grants=[], readers=[], ring=RING.advance(drawn(5)))
    assert caught.value.kind is Kind.CONFLICT


def test_nobody_is_revoked_and_kept() -> None:
    with pytest.raises(Fault) as caught:
        revoke(
            SHARED,
            ANNA,
            subjects=[BOB.principal],
            remaining=[BOB.key.principal],
            ring=RING,
            draw=drawn(5),
        )
    assert caught.value.kind is Kind.USAGE


def test_a_sealed_key_belongs_to_its_principal_file_and_epoch() -> None:
    secret = RING.current
    sealed = seal_key(secret, BOB.key.principal, PHOTOS, 3)
    assert len(sealed) == 113
    assert open_key(sealed, BOB.key, PHOTOS, 3) == secret
    for key, file, epoch in (
        (ANNA.key, PHOTOS, 3),
        (BOB.key, HOLIDAYS, 3),
        (BOB.key, PHOTOS, 4),
    ):
        with pytest.raises(Fault) as caught:
            open_key(sealed, key, file, epoch)
        assert caught.value.kind is Kind.DENIED


@given(st.binary(max_size=200))
def test_any_bytes_as_a_sealed_key_are_denied(junk: bytes) -> None:
    with pytest.raises(Fault):
        open_key(junk, BOB.key, PHOTOS, 1)


def test_a_sealed_key_of_another_length_is_denied() -> None:
    suite = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    purpose = b"blocktree read cap 1\0" + PHOTOS + (1).to_bytes(4)
    short = suite.encrypt(bytes(31), BOB.key.principal.public, purpose)
    with pytest.raises(Fault):
        open_key(short, BOB.key, PHOTOS, 1)


def test_a_pinned_read_cap_opens(*, rewrite: bool) -> None:
    """Made once: HPKE draws an ephemeral key, so these bytes cannot be made again."""
    path = vector.FOLDER / "read_cap" / "good.txt"
    if rewrite and not path.exists():
        path.parent.mkdir(exist_ok=True)
        sealed = seal_key(bytes(range(32)), BOB.key.principal, PHOTOS, 3)
        headers = {"expect": "ok", "scalar": BOB.key.scalar().hex(), "file": PHOTOS.hex()}
        headers |= {"epoch": "3", "opens": bytes(range(32)).hex()}
        path.write_text(str(vector.Vector(headers, [sealed])))
    pinned = vector.load(path)
    opened = open_key(
        pinned.values[0],
        Key.load(bytes.fromhex(pinned.headers["scalar"])),
        FileId(bytes.fromhex(pinned.headers["file"])),
        int(pinned.headers["epoch"]),
    )
    assert opened.hex() == pinned.headers["opens"]


def test_a_ring_comes_back_from_its_present_key_and_its_past() -> None:
    ring = RING
    for epoch in range(1, 6):
        assert ring.epoch == epoch
        assert open_ring(ring.current, epoch, ring.seal_past(PHOTOS), PHOTOS) == ring
        ring = ring.advance(drawn(epoch))


def test_a_past_of_another_file_or_epoch_does_not_open() -> None:
    ring = RING.advance(drawn(1)).advance(drawn(2))
    past = ring.seal_past(PHOTOS)
    with pytest.raises(Fault) as caught:
        open_ring(ring.current, 3, past, HOLIDAYS)
    assert caught.value.kind is Kind.DAMAGED
    for epoch, key in ((2, ring.current), (4, ring.current), (0, ring.current), (3, b"short")):
        with pytest.raises(Fault) as caught:
            open_ring(key, epoch, past, PHOTOS)
        assert caught.value.kind is Kind.MALFORMED


def test_epochs_are_bounded() -> None:
    ring = KeyRing((bytes(32),) * 256)
    assert open_ring(ring.current, 256, ring.seal_past(PHOTOS), PHOTOS) == ring
    with pytest.raises(Fault) as caught:
        ring.advance(drawn(1))
    assert caught.value.kind is Kind.TOO_LARGE


def test_a_ring_does_not_print_its_keys() -> None:
    assert repr(RING) == str(RING) == "KeyRing(epoch 1)"
