"""Headers: form, signature and size, each pinned by a vector."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId, digest_of
from blocktree.sectors.check import check_commit, check_header, read_transaction, tree_of
from blocktree.sectors.header import Header, load_header, sign_header, verify_header
from blocktree.sectors.pages import HOLE, Tree
from blocktree.sectors.transaction import BLOBS_MAX, CHANGES_MAX, Change, Transaction
from blocktree.wire import encode
from sectors.header_cases import GOOD, cases, check, made, signed
from sectors.house import ANNA, BOB, DIR, A, B, file_id, fresh

FOLDER = vector.FOLDER / "header"
CASES = cases()
R = Digest(b"r" * 32)
SPKI = ANNA.key.principal.spki


@pytest.mark.parametrize("name", CASES)
def test_the_vector_is_what_the_seed_gives(name: str, *, rewrite: bool) -> None:
    expect, encoded = CASES[name]
    headers = {"expect": expect, "values": "header, SubjectPublicKeyInfo of the writer"}
    if expect == "ok":
        headers["digest"] = sha256(encoded).hexdigest()
    vector.pin("header", name, vector.Vector(headers, [encoded, SPKI]), rewrite=rewrite)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_a_header_is_judged_as_its_vector_says(name: str) -> None:
    pinned = vector.load(FOLDER / f"{name}.txt")
    encoded, spki = pinned.values if len(pinned.values) == 2 else (b"", pinned.values[0])
    assert vector.verdict(lambda: check(encoded, spki)) == pinned.headers["expect"]
    if pinned.headers["expect"] == "ok":
        assert load_header(encoded).digest.hex() == pinned.headers["digest"]


@pytest.mark.parametrize("header", GOOD.values(), ids=list(GOOD))
def test_what_was_signed_is_read_back(header: Header) -> None:
    written = sign_header(header, ANNA.key)
    assert load_header(written.encoded) == written
    assert written.header.writer == ANNA.principal
    assert encode(written.header) == written.encoded


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_a_header_can_change(at: int, flip: int) -> None:
    whole = bytearray(signed(GOOD["inline"]))
    whole[at % len(whole)] ^= flip
    with pytest.raises(Fault):
        check(bytes(whole), SPKI)


@given(st.binary(max_size=600))
def test_bytes_that_are_no_header_get_a_fault(data: bytes) -> None:
    with pytest.raises(Fault) as caught:
        load_header(data)
    assert caught.value.kind is Kind.MALFORMED


def test_a_tree_has_as_many_sectors_as_the_size_says() -> None:
    root = bytes(range(32))
    assert tree_of(made()) == Tree()
    assert tree_of(made(size=65536, root=root)) == Tree(root, 1)
    assert tree_of(made(size=65537, root=root)) == Tree(root, 2)
    assert tree_of(made(size=65537)) == Tree(b"", 2)
    assert tree_of(made(**DIR, size=60, inline=bytes(96))) == Tree()
    assert tree_of(made(**DIR, size=2049, root=root)) == Tree(root, 2)


# Transactions


def change(number: int = 1, **fields: object) -> Change:
    file = file_id(number)
    return Change(file, 0, sign_header(fresh(file, **fields), ANNA.key).encoded)


def judged(*changes: Change) -> str:
    return vector.verdict(lambda: read_transaction(encode(Transaction(changes))))


def test_a_transaction_is_decoded_once_with_its_headers() -> None:
    checked = check_commit(encode(Transaction((change(), Change(B, 3)))), ANNA.key.principal)
    first, second = checked.headers
    assert first is not None
    assert first.header.file == A
    assert second is None


def test_a_transaction_has_bounds() -> None:
    assert judged() == "too_large"
    assert judged(*(Change(file_id(n), 1) for n in range(1, CHANGES_MAX + 1))) == "ok"
    assert judged(*(Change(file_id(n), 1) for n in range(1, CHANGES_MAX + 2))) == "too_large"
    blobs = tuple(digest_of(b"%d" % n) for n in range(BLOBS_MAX + 1))
    large = change(size=1 << 40, root=blobs[0])
    assert judged(replace(large, blobs=blobs[:-1])) == "ok"
    assert judged(replace(large, blobs=blobs)) == "too_large"


@pytest.mark.parametrize(
    "wrong",
    [
        Change(FileId(bytes(15)), 1),
        Change(A, 0),
        Change(A, -1),
        Change(A, 1 << 32),
        Change(A, 1, b"", (R,)),
        Change(A, 0, b"x"),
        replace(change(), file=B),
        replace(change(), blobs=(R,)),
        replace(change(size=1, root=R), blobs=(HOLE,)),
        replace(change(size=1, root=R), blobs=(Digest(b"r" * 31),)),
        replace(change(size=1, root=R), blobs=(R, R)),
        change(mode=-1),
    ],
)
def test_a_change_that_makes_no_sense_is_malformed(wrong: Change) -> None:
    assert judged(wrong) == "malformed"


def test_a_transaction_changes_a_file_once() -> None:
    assert judged(change(), Change(A, 1)) == "malformed"


def test_every_header_of_a_transaction_is_signed_by_its_writer() -> None:
    honest = change(1)
    bent = replace(honest, header=honest.header[:-1] + b"\0")
    for wrong, kind in ((bent, Kind.DAMAGED), (change(2), None)):
        encoded = encode(Transaction((change(3), wrong)))
        if kind is None:
            check_commit(encoded, ANNA.key.principal)
            continue
        with pytest.raises(Fault) as caught:
            check_commit(encoded, ANNA.key.principal)
        assert caught.value.kind is kind
        assert caught.value.path == A.hex()
    with pytest.raises(Fault) as caught:
        check_commit(encode(Transaction((honest,))), BOB.key.principal)
    assert caught.value.kind is Kind.DENIED


def test_a_header_names_the_file_it_is_wrong_about() -> None:
    with pytest.raises(Fault) as caught:
        check_header(made(mode=-1))
    assert caught.value.path == A.hex()
    loaded = load_header(signed(made()))
    with pytest.raises(Fault) as caught:
        verify_header(loaded, BOB.key.principal)
    assert caught.value.path == A.hex()
