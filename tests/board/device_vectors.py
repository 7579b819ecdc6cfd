"""The cases of `tests/vectors/device_*`, built with `cryptography` and cbor2 from the SPEC page."""

import hashlib
from collections.abc import Iterator

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import board.peer as p
from vector import Vector

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Case = tuple[str, str, Vector]


def some(label: str, size: int) -> bytes:
    """Bytes that look random and are the same each time."""
    return hashlib.shake_128(label.encode()).digest(size)


LINK, READING, SETUP = some("link", 32), some("reading", 32), some("setup", 16)
SCALAR = some("scalar", 32)
NONCE_D, NONCE_G = some("nonce d", 16), some("nonce g", 16)
KEY = ec.derive_private_key(int.from_bytes(SCALAR), ec.SECP256R1())
POINT = KEY.public_key().public_bytes(
    serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
)


def device_of(scalar: bytes) -> bytes:
    """The device id of a key."""
    key = ec.derive_private_key(int.from_bytes(scalar), ec.SECP256R1())
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


DEVICE = device_of(SCALAR)
HINT = DEVICE[:8]


def cases() -> Iterator[Case]:
    """Every case: folder, name, content."""
    for make in (_ccm, _keys, _handshakes, _serial, _windows, _messages, _bad_messages):
        yield from make()
    for make in (_entries, _checkpoints, _rekeys, _offers, _refusals, _setups, _apps):
        yield from make()


def made(expect: str, *values: bytes, **headers: object) -> Vector:
    told = {key: str(value) for key, value in headers.items()}
    return Vector({"expect": expect, **told}, values)


def _ccm() -> Iterator[Case]:
    for size, extra in ((1, 9), (2, 1), (15, 13), (16, 14), (17, 15), (64, 104), (231, 9)):
        key, nonce = some(f"key {size}", 16), some(f"nonce {size}", 13)
        aad, plain = some(f"aad {size}", extra), some(f"plain {size}", size)
        sealed = p.seal(key, nonce, aad, plain)
        name = f"{size}_bytes_and_{extra}"
        yield "device_ccm", name, made("ok", key, nonce, aad, plain, sealed)
        if size == 17:
            for what, bad in (
                ("tag", sealed[:-1] + bytes([sealed[-1] ^ 1])),
                ("text", bytes([sealed[0] ^ 128]) + sealed[1:]),
                ("cut", sealed[:-1]),
                ("short", sealed[:7]),
            ):
                case = made("damaged", key, nonce, aad, plain, bad)
                yield "device_ccm", f"wrong_{what}", case
            yield "device_ccm", "wrong_aad", made("damaged", key, nonce, aad[1:], plain, sealed)


def _secret(purpose: int) -> tuple[bytes, int, bytes]:
    if purpose == 0:
        return LINK, 3, HINT
    return (SETUP, 0, p.setup_hint(SETUP)) if purpose == 1 else (bytes(32), 0, bytes(8))


def _keys() -> Iterator[Case]:
    for purpose in (0, 1, 2):
        secret, epoch, hint = _secret(purpose)
        k = p.SessionKeys.derived(secret, NONCE_D, NONCE_G, purpose, epoch, hint)
        given = (secret, NONCE_D, NONCE_G, hint)
        derived = (k.key_d, k.key_g, k.iv_d, k.iv_g, k.sid)
        case = made("ok", *given, *derived, purpose=purpose, epoch=epoch)
        yield "device_keys", f"purpose_{purpose}", case


def _handshakes() -> Iterator[Case]:
    said = cbor2.dumps([0x0C03, 61_000])
    heard = cbor2.dumps([0x0C06, 61_000, 1_800_000_000_123])
    for purpose in (0, 1, 2):
        secret, epoch, hint = _secret(purpose)
        k = p.SessionKeys.derived(secret, NONCE_D, NONCE_G, purpose, epoch, hint)
        head = p.confirm_head(hint, epoch, purpose, NONCE_D, NONCE_G)
        values = [
            *(secret, hint, NONCE_D, NONCE_G),
            p.hello(purpose, epoch, hint, NONCE_D, "esp32c3"),
            p.welcome(NONCE_D, NONCE_G, 4781),
            *(k.confirm(head), k.ready(NONCE_D)),
            *(k.from_device(1, b"\0\1\0\0" + said), k.from_gateway(1, b"\0\1\0\1" + heard)),
            *(said, heard),
        ]
        headers = {"purpose": purpose, "epoch": epoch, "board": "esp32c3", "port": 4781}
        yield "device_handshake", f"purpose_{purpose}", made("ok", *values, **headers)


def _serial() -> Iterator[Case]:
    one, two, three = some("one", 30), bytes(248), some("three", 248)
    streams: dict[str, tuple[bytes, list[bytes], int]] = {
        "one": (p.framed(one), [one], 0),
        "zeros_and_largest": (p.framed(two) + p.framed(three), [two, three], 0),
        "one_byte": (p.framed(b"\0"), [b"\0"], 0),
        "shared_zero": (p.framed(one)[:-1] + p.framed(two), [one, two], 0),
        "text_before": (b"ets Jun  8 2016\r\nrst:0x1\r\n" + p.framed(one), [one], 1),
        "bit_flipped": (_flip(p.framed(one), 9) + p.framed(two), [two], 1),
        "zero_lost": (p.framed(one)[:-1] + p.framed(two)[1:] + p.framed(one), [one], 1),
        "zero_inserted": (_insert(p.framed(one), 12) + p.framed(two), [two], 2),
        "cut": (p.framed(one)[:20] + p.framed(two), [two], 1),
        "too_long": (b"\0" + p.stuffed(some("y", 253)) + b"\0" + p.framed(one), [one], 1),
        "endless": (b"\0" + b"\x55" * 5000 + b"\0" + p.framed(one), [one], 1),
        "only_a_crc": (b"\0" + p.stuffed(bytes(4)) + b"\0", [], 1),
        "code_beyond_the_end": (b"\0\x09abc\0" + p.framed(one), [one], 1),
    }
    for name, (stream, packets, drops) in streams.items():
        written = "yes" if stream == b"".join(map(p.framed, packets)) else "no"
        headers = {"packets": len(packets), "drops": drops, "written": written}
        yield "device_serial", name, made("ok", stream, *packets, **headers)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4 or 1]) + data[at + 1 :]


def _insert(data: bytes, at: int) -> bytes:
    return data[:at] + b"\0" + data[at:]


def _windows() -> Iterator[Case]:
    high = 4_000_000_000
    rows = {
        "strict": (0, [1, 2, 2, 4, 3, 5, 0], [1, 2, 4, 5]),
        "in_order": (64, [1, 2, 3, 3], [1, 2, 3]),
        "late": (64, [1, 70, 7, 6, 8, 7, 69, 69], [1, 70, 7, 8, 69]),
        "far_ahead": (64, [5, high, high - 63, high - 64, 6], [5, high, high - 63]),
        "zero_is_the_handshakes": (64, [0, 1, 0], [1]),
    }
    for name, (width, counters, taken) in rows.items():
        told = {"counters": " ".join(map(str, counters)), "taken": " ".join(map(str, taken))}
        yield "device_window", name, made("ok", width=width, **told)


MESSAGES: dict[str, list[object]] = {
    "report": [
        *(0x0C01, DEVICE, 7, 6, 1200, 44),
        *("0.1.0 micropython 1.25.0", "esp32c3", "climate", some("app", 8), 97_000, 0),
    ],
    "face": [0x0C02, ["temperature °C -2", "humidity % -1"], ["Climate.every seconds:int"]],
    "alive": [0x0C03, 15_000],
    "asleep": [0x0C04, 600_000],
    "time_ask": [0x0C05, 4_294_967_296],
    "time_told": [0x0C06, 4_294_967_296, 1_800_000_000_123],
    "gateways": [0x0C07, ["/home/pi-1 192.168.1.5 4780 4781"]],
    "bye": [0x0C08, 13, "another gateway speaks for it"],
    "kept": [0x0C12, 7, 43],
    "command": [0x0C20, some("id", 8), "Led.set", cbor2.dumps([True])],
    "answer": [0x0C21, some("id", 8), 0, cbor2.dumps([True]), 4000, 1_800_000_000_123],
    "answer_time_unknown": [0x0C21, some("id", 8), 2, cbor2.dumps(["Led.set on:bool"]), 40, None],
    "offer": [0x0C30, 1, "climate", 4321, some("digest", 32), some("proof", 16)],
    "want": [0x0C31, some("digest", 32), 192],
    "chunk": [0x0C32, 192, some("chunk", 192)],
    "taken": [0x0C33, some("digest", 32), 4, "its digest does not match"],
    "app_state": [0x0C34, "climate", some("app", 8), 3, 3, "ValueError: sensor"],
    "adopt": [0x0C40, 1, LINK, READING, SCALAR],
    "belong": [0x0C41, some("tree", 32), "/home/sensors/attic"],
    "join": [0x0C42, "", ""],
    "adopted": [0x0C43, DEVICE, "/home/sensors/attic"],
    "rekey": [0x0C44, 2, some("sealed", 104)],
    "rekeyed": [0x0C45, 2, 0, ""],
    "rename": [0x0C46, "/home/sensors/loft"],
    "start": [0x0C50, "climate", some("app", 8), ["temperature °C -2"], 6, 1200, some("h", 32)],
    "reading": [0x0C51, 61_000, 1_800_000_000_123, [2153, -7, None]],
    "reading_time_unknown": [0x0C51, 61_000, None, [2153]],
    "clock": [0x0C52, 61_000, 1_800_000_000_123],
    "lost": [0x0C53, 6, 0, 6, 31],
    "note": [0x0C54, 61_000, None, 2, "app crashed: OSError: 5"],
    "checkpoint": [0x0C11, 7, 43, some("head", 32), None, some("signature", 64)],
}


def _messages() -> Iterator[Case]:
    for name, plain in MESSAGES.items():
        yield "device_message", name, made("ok", cbor2.dumps(plain), name=name)


def _bad_messages() -> Iterator[Case]:
    good = cbor2.dumps([0x0C12, 7, 43])
    bad = {
        "no_array": cbor2.dumps(7),
        "no_fields": cbor2.dumps([]),
        "code_unknown": cbor2.dumps([0x0C7F, 1]),
        "field_missing": cbor2.dumps([0x0C12, 7]),
        "field_too_many": cbor2.dumps([0x0C12, 7, 43, 0]),
        "negative": cbor2.dumps([0x0C12, 7, -1]),
        "bool_for_integer": cbor2.dumps([0x0C12, True, 43]),
        "text_for_integer": cbor2.dumps([0x0C12, "7", 43]),
        "short_id": cbor2.dumps([0x0C20, bytes(7), "Led.set", b"\x80"]),
        "trailing": good + b"\0",
        "cut": good[:-1],
        "over_long_integer": good[:-2] + b"\x19\0\x2b",
        "indefinite": b"\x9f" + good[1:] + b"\xff",
        "tag": cbor2.dumps([0x0C12, cbor2.CBORTag(99, 7), 43]),
        "map": cbor2.dumps({1: 2}),
        "real": cbor2.dumps([0x0C12, 0.5, 43]),
        "no_utf_8": cbor2.dumps([0x0C46, "ab"])[:-2] + b"\xff\xfe",
        "deep": b"\x81" * 200 + b"\0",
        "many_items": cbor2.dumps([0x0C51, 1, None, [0] * 17]),
        "length_beyond_the_end": b"\x82\x19\x0c\x46\x7b" + b"\xff" * 8,
    }
    for name, data in bad.items():
        yield "device_message", f"bad_{name}", made("malformed", data, name="none")
    long = cbor2.dumps([0x0C46, "a" * 230])
    yield "device_message", "bad_too_long", made("too_large", long, name="none")


def _entries() -> Iterator[Case]:
    chains = {
        "first_boot": (1, 1, ["start", "reading_time_unknown", "clock", "reading", "note"]),
        "later_boot": (2, 70_000, ["start", "lost", "reading"]),
    }
    for name, (epoch, boot, events) in chains.items():
        values, prev = [DEVICE, READING], bytes(32)
        for seq, event in enumerate(events):
            plain = cbor2.dumps(MESSAGES[event])
            sealed = p.sealed_entry(DEVICE, READING, epoch, boot, seq, prev, plain)
            entry = cbor2.dumps([0x0C10, epoch, boot, seq, prev, sealed])
            prev = hashlib.sha256(entry).digest()
            values += [plain, entry]
        yield "device_entry", name, made("ok", *values, epoch=epoch, boot=boot, name=name)


def signature(message: bytes) -> bytes:
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    r, s = decode_dss_signature(KEY.sign(message, algorithm))
    return r.to_bytes(32) + min(s, ORDER - s).to_bytes(32)


def _checkpoints() -> Iterator[Case]:
    for name, place, time in (
        ("timed", (7, 43), 1_800_000_000_123),
        ("time_unknown", (70_000, 0), 0),
    ):
        head = some(f"head {name}", 32)
        signed = p.checkpoint_message(DEVICE, *place, head, time)
        values = (SCALAR, POINT, DEVICE, head, signed, signature(signed))
        case = made("ok", *values, boot=place[0], seq=place[1], time=time)
        yield "device_checkpoint", name, case


def _rekeys() -> Iterator[Case]:
    plain = some("new link", 32) + some("new reading", 32) + bytes(32)
    sealed = p.rekey(DEVICE, READING, 4, plain)
    given = (DEVICE, READING, plain)
    yield "device_rekey", "good", made("ok", *given, sealed, present=3, epoch=4)
    yield "device_rekey", "epoch_present", made("conflict", *given, sealed, present=4, epoch=4)
    yield "device_rekey", "epoch_other", made("damaged", *given, sealed, present=3, epoch=5)
    other = p.rekey(DEVICE, LINK, 4, plain)
    yield "device_rekey", "by_a_gateway", made("damaged", *given, other, present=3, epoch=4)


def _offers() -> Iterator[Case]:
    digest = some("digest", 32)
    proof = p.vouch(DEVICE, READING, 4, digest)
    yield "device_offer", "good", made("ok", DEVICE, READING, digest, proof, epoch=4)
    case = made("denied", DEVICE, READING, digest, proof, epoch=5)
    yield "device_offer", "epoch_other", case
    by_gateway = p.vouch(DEVICE, LINK, 4, digest)
    yield (
        "device_offer",
        "by_a_gateway",
        made("denied", DEVICE, READING, digest, by_gateway, epoch=4),
    )
    other = some("another digest", 32)
    yield "device_offer", "digest_other", made("denied", DEVICE, READING, other, proof, epoch=4)


def _refusals() -> Iterator[Case]:
    said = {
        "revoked": (5, "revoked on 2026-11-25; pair it again with: bt device pair"),
        "busy": (13, "another gateway speaks for it; try again later"),
    }
    for name, (kind, sentence) in said.items():
        packet = p.refuse(LINK, NONCE_D, kind, sentence)
        case = made("ok", LINK, NONCE_D, packet, kind=kind, sentence=sentence, tag="good")
        yield "device_refuse", name, case
    packet = p.refuse(None, NONCE_D, 10, "this tree does not know the device")
    headers = {"kind": 10, "sentence": "this tree does not know the device", "tag": "none"}
    yield "device_refuse", "unknown", made("ok", LINK, NONCE_D, packet, **headers)


def _setups() -> Iterator[Case]:
    code = p.setup_code(SETUP)
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    wrong = code[:-3] + ("A" if code[-3] != "A" else "B") + code[-2:]
    values = (SETUP, p.setup_hint(SETUP))
    yield "device_setup", "printed", made("ok", *values, code=code)
    yield "device_setup", "typed", made("ok", *values, code=typed)
    yield "device_setup", "mistyped", made("usage", *values, code=wrong)
    yield "device_setup", "cut", made("usage", *values, code=code[:-1])
    yield "device_setup", "letter_u", made("usage", *values, code=code[:-1] + "U")


def _apps() -> Iterator[Case]:
    good = p.app_file({"app.py": b"x = 1\n", "dht.py": some("dht", 300), "contract.tbl": b"\x80"})
    yield "device_app", "good", made("ok", good, members="app.py dht.py contract.tbl")
    small = p.app_file({"app.mpy": b"M\6\0\x1f"})
    yield "device_app", "compiled", made("ok", small, members="app.mpy")
    bad = {
        "cut": good[:-1],
        "no_app": p.app_file({"other.py": b""}),
        "both": p.app_file({"app.py": b"", "app.mpy": b""}),
        "twice": p.app_file({"app.py": b""}) * 2,
        "path": p.app_file({"../boot.py": b"", "app.py": b""}),
        "slash": p.app_file({"a/b.py": b"", "app.py": b""}),
        "many": p.app_file({"app.py": b"", **{f"m{i}.py": b"" for i in range(16)}}),
    }
    for name, data in bad.items():
        yield "device_app", f"bad_{name}", made("malformed", data, members="none")
    table = p.app_file({"app.py": b"", "contract.tbl": bytes(2049)})
    yield "device_app", "bad_table", made("contract", table, members="none")
    large = b"\6app.py" + (49_153).to_bytes(4)
    yield "device_app", "bad_large", made("too_large", large, members="none")
