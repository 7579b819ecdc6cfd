"""The vectors of the device format, on the gateway's side; `tests/board` runs the same files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from blocktree.fault import Fault, Kind
from blocktree.keys import Key, Principal
from blocktree.wire import encode
from blocktree_gateway.appfile import unpack_app
from blocktree_gateway.decoding import decode_message
from blocktree_gateway.links.framing import Deframer, encode_frame
from blocktree_gateway.messages import Checkpoint, Entry, Place
from blocktree_gateway.pairing import NewKeys, open_rekey, read_code, seal_rekey, vouch, write_code
from blocktree_gateway.session.keys import Purpose, Window, derive, seal_nothing, setup_hint
from blocktree_gateway.session.packets import (
    Hello,
    Refuse,
    Welcome,
    confirm_head,
    encode_hello,
    encode_refuse,
    encode_welcome,
    read_packet,
    ready_head,
)
from blocktree_gateway.session.session import Session
from blocktree_gateway.stream.entries import (
    FIRST_PREV,
    Reader,
    entry_hash,
    open_entry,
    seal_entry,
    signed_bytes,
)
from vector import FOLDER, Vector, load, verdict


def cases(folder: str) -> list[Path]:
    found = sorted((FOLDER / folder).glob("*.txt"))
    assert found, folder
    return found


def each(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", cases(folder), ids=lambda path: path.stem)


@each("device_ccm")
def test_ccm(path: Path) -> None:
    case = load(path)
    key, nonce, bound, plaintext, sealed = values(case, 5)
    cipher = AESCCM(key, tag_length=8)
    if case.headers["expect"] == "ok":
        assert cipher.encrypt(nonce, plaintext, bound) == sealed
        assert cipher.decrypt(nonce, sealed, bound) == plaintext
    else:
        with pytest.raises((InvalidTag, ValueError)):
            cipher.decrypt(nonce, sealed, bound)


def values(case: Vector, count: int) -> list[bytes]:
    """Exactly so many values; empty ones are written as empty lines, which `load` leaves out."""
    found = list(case.values)
    assert len(found) == count, case.headers
    return found


@each("device_keys")
def test_keys(path: Path) -> None:
    case = load(path)
    secret, nonce_d, nonce_g, hint, *derived = values(case, 9)
    purpose, epoch = Purpose(int(case.headers["purpose"])), int(case.headers["epoch"])
    keys = derive(secret, nonce_d, nonce_g, purpose, epoch, hint)
    assert derived == [
        keys.device.key,
        keys.gateway.key,
        keys.device.iv,
        keys.gateway.iv,
        keys.sid,
    ]


@each("device_handshake")
def test_handshake(path: Path) -> None:
    case = load(path)
    secret, hint, nonce_d, nonce_g, hello, welcome, confirm, ready, *data = values(case, 12)
    purpose, epoch = Purpose(int(case.headers["purpose"])), int(case.headers["epoch"])
    said = Hello(purpose, epoch, hint, nonce_d, case.headers["board"])
    assert encode_hello(said) == hello
    assert read_packet(hello) == said
    port = int(case.headers["port"])
    assert encode_welcome(Welcome(nonce_d, nonce_g, port)) == welcome
    keys = derive(secret, nonce_d, nonce_g, purpose, epoch, hint)
    head = confirm_head(hint, epoch, purpose, nonce_d, nonce_g)
    assert head + seal_nothing(keys.device, head) == confirm
    answer = ready_head(nonce_d)
    assert answer + seal_nothing(keys.gateway, answer) == ready
    from_device, from_gateway, device_says, gateway_says = data
    gateway = Session(keys, gateway=True, ordered=False)
    opened = gateway.receive(from_device, 0.0)
    assert opened is not None
    assert opened.message == device_says
    gateway.post(gateway_says)
    assert gateway.ready(0.0) == [from_gateway]


@each("device_serial")
def test_serial(path: Path) -> None:
    case = load(path)
    stream, *packets = case.values
    for size in (1, 7, len(stream)):
        deframer = Deframer()
        found = [
            packet
            for at in range(0, len(stream), size)
            for packet in deframer.feed(stream[at : at + size])
        ]
        assert found == packets
        assert len(found) == int(case.headers["packets"])
        assert deframer.drops == int(case.headers["drops"])
    if case.headers.get("written") != "no":
        assert b"".join(map(encode_frame, packets)) == stream


@each("device_window")
def test_window(path: Path) -> None:
    case = load(path)
    window = Window(int(case.headers["width"]))
    taken = []
    for counter in map(int, case.headers["counters"].split()):
        if window.fits(counter):
            window.take(counter)
            taken.append(counter)
    assert taken == [int(each) for each in case.headers["taken"].split()]


@each("device_message")
def test_message(path: Path) -> None:
    case = load(path)
    (encoded,) = case.values
    if case.headers["expect"] == "ok":
        message = decode_message(encoded)
        assert encode(message) == encoded
        name = "".join(part.title() for part in case.headers["name"].split("_"))
        assert name.startswith(type(message).__name__)
    else:
        with pytest.raises(Fault):
            decode_message(encoded)


@each("device_entry")
def test_entry(path: Path) -> None:
    case = load(path)
    device, secret, *chain = case.values
    epoch, boot = int(case.headers["epoch"]), int(case.headers["boot"])
    prev = FIRST_PREV
    for seq in range(len(chain) // 2):
        plaintext, encoded = chain[2 * seq : 2 * seq + 2]
        entry = decode_message(encoded)
        assert isinstance(entry, Entry)
        place: Place = (boot, seq)
        assert seal_entry(decode_message(plaintext), device, secret, epoch, place, prev) == entry
        assert open_entry(entry, device, secret) == plaintext
        prev = entry_hash(entry)


@each("device_checkpoint")
def test_checkpoint(path: Path) -> None:
    case = load(path)
    scalar, _public, device, head, signed, signature = values(case, 6)
    time_ms = int(case.headers["time"]) or None
    boot, seq = int(case.headers["boot"]), int(case.headers["seq"])
    checkpoint = Checkpoint(boot, seq, head, time_ms, signature)
    principal: Principal = Key.load(scalar).principal
    assert principal.id == device
    assert signed_bytes(checkpoint, device) == signed
    assert Key.load(scalar).sign(signed) == signature
    Reader(device, {}, principal).check_signature(checkpoint)


@each("device_rekey")
def test_rekey(path: Path) -> None:
    case = load(path)
    device, secret, plain, sealed = values(case, 4)
    epoch = int(case.headers["epoch"])
    keys = NewKeys(plain[:32], plain[32:64], plain[64:])
    if case.headers["expect"] == "ok":
        assert seal_rekey(device, secret, epoch, keys) == sealed
        assert open_rekey(device, secret, epoch, sealed) == keys
    elif case.headers["expect"] == "damaged":
        assert verdict(lambda: open_rekey(device, secret, epoch, sealed)) == "damaged"


@each("device_offer")
def test_offer(path: Path) -> None:
    case = load(path)
    device, secret, digest, proof = values(case, 4)
    good = vouch(device, secret, int(case.headers["epoch"]), digest) == proof
    assert good == (case.headers["expect"] == "ok")


@each("device_refuse")
def test_refuse(path: Path) -> None:
    case = load(path)
    secret, nonce_d, packet = values(case, 3)
    kind, sentence = Kind(int(case.headers["kind"])), case.headers["sentence"]
    known = secret if case.headers["tag"] == "good" else None
    assert encode_refuse(nonce_d, kind, sentence, known) == packet
    said = read_packet(packet)
    assert isinstance(said, Refuse)
    assert said.sentence == sentence


@each("device_setup")
def test_setup_code(path: Path) -> None:
    case = load(path)
    secret, hint = values(case, 2)
    code = case.headers["code"]
    assert setup_hint(secret) == hint
    if case.headers["expect"] == "ok":
        assert read_code(code) == secret
        assert read_code(write_code(secret)) == secret
        if path.stem == "printed":
            assert write_code(secret) == code
    else:
        check: Callable[[], object] = lambda: read_code(code)  # noqa: E731
        assert verdict(check) == case.headers["expect"]


@each("device_app")
def test_app(path: Path) -> None:
    case = load(path)
    packed = b"".join(case.values)
    if case.headers["expect"] == "ok":
        assert list(unpack_app(packed)) == case.headers["members"].split()
    else:
        with pytest.raises(Fault):
            unpack_app(packed)
