"""What the runtime makes of every `tests/vectors/device_*` file; for CPython and MicroPython.

`python vector_checks.py FOLDER`: prints a line for each file that differs, then how many held.
"""

import binascii
import io
import os
import sys

from bt import appfile, cbor, ccm, chain, cobs, messages, p256, packets, records, rekey, setupcode
from bt.fault import Fault
from bt.monitor import Monitor
from bt.window import Window


def read(text):
    """The headers and values of a vector."""
    head, _, body = text.partition("\n\n")
    headers = {}
    for line in head.split("\n"):
        key, _, value = line.partition(": ")
        headers[key] = value
    lines = body.split("\n")[:-1] if body.strip() else []
    return headers, [binascii.unhexlify(line) for line in lines]


def ccm_(_headers, values):
    key, nonce, aad, plain, sealed = values
    assert ccm.open(key, nonce, aad, sealed) == plain
    assert ccm.seal(key, nonce, aad, plain) == sealed


def keys_of(headers, secret, nonce_d, nonce_g, hint):
    numbers = int(headers["purpose"]), int(headers["epoch"])
    return records.Keys(secret, nonce_d, nonce_g, numbers[0], numbers[1], hint)


def keys(headers, values):
    made = keys_of(headers, values[0], values[1], values[2], values[3])
    assert [made.key_d, made.key_g, made.iv_d, made.iv_g, made.sid] == values[4:]


def handshake(headers, values):
    secret, hint, nonce_d, nonce_g, hello, welcome, confirm, ready, out, back, said, heard = values
    purpose, epoch = int(headers["purpose"]), int(headers["epoch"])
    assert packets.hello(purpose, epoch, hint, nonce_d, headers["board"]) == hello
    assert packets.read_welcome(welcome) == (nonce_d, nonce_g, int(headers["port"]))
    made = keys_of(headers, secret, nonce_d, nonce_g, hint)
    head = packets.confirm_head(hint, epoch, purpose, nonce_d, nonce_g)
    assert head + made.confirm(head) == confirm
    assert packets.read_ready(ready) == (nonce_d, made.ready(ready[:17]))
    session = records.Records(made, 64)
    assert session.seal(b"\0\1\0\0" + said) == out
    assert session.open(back) == b"\0\1\0\1" + heard
    assert session.open(back) is None


def serial(headers, values):
    deframer = cobs.Deframer()
    packets = deframer.receive(values[0])
    assert packets == values[1:]
    assert deframer.drops == int(headers["drops"])
    deframer, packets = cobs.Deframer(), []
    for i in range(len(values[0])):
        packets += deframer.receive(values[0][i : i + 1])
    assert packets == values[1:]
    if headers["written"] == "yes":
        assert b"".join([cobs.encode(packet) for packet in packets]) == values[0]


def window(headers, _values):
    seen = Window(int(headers["width"]))
    taken = []
    for counter in headers["counters"].split(" "):
        if seen.fresh(int(counter)):
            seen.take(int(counter))
            taken.append(counter)
    assert " ".join(taken) == headers["taken"]


def message(_headers, values):
    decoded = messages.decode(values[0])
    assert cbor.dumps(decoded) == values[0]


def entry(headers, values):
    device, secret, pairs = values[0], values[1], values[2:]
    made = chain.Chain(device, secret, int(headers["epoch"]), int(headers["boot"]))
    for i in range(0, len(pairs), 2):
        event = messages.decode(pairs[i])
        seq, data = made.add(*event)
        assert (seq, data) == (i // 2, pairs[i + 1])


def checkpoint(headers, values):
    scalar, point, device, head, signed, signature = values
    assert p256.finish(p256.public_key(scalar)) == point
    assert p256.principal_id(point) == device
    place = int(headers["boot"]), int(headers["seq"])
    time = int(headers["time"]) or None
    assert chain.checkpoint_message(device, place[0], place[1], head, time) == signed
    assert p256.finish(p256.sign(scalar, signed)) == signature


def rekey_(headers, values):
    device, secret, plain, sealed = values
    opened = rekey.open_rekey(
        device, secret, int(headers["present"]), int(headers["epoch"]), sealed
    )
    assert b"".join(opened) == plain


def offer(headers, values):
    device, secret, digest, proof = values
    if not rekey.vouched(device, secret, int(headers["epoch"]), digest, proof):
        raise Fault(5, "not vouched for")


def refuse(headers, values):
    secret, nonce_d, packet = values
    nonce, kind, tag, sentence = packets.read_refuse(packet)
    assert (nonce, kind, sentence) == (nonce_d, int(headers["kind"]), headers["sentence"])
    good = tag == records.refusal_tag(secret, nonce, kind, sentence)
    assert good == (headers["tag"] == "good")


def setup(headers, values):
    assert setupcode.read(headers["code"]) == values[0]
    assert setupcode.hint(values[0]) == values[1]
    assert setupcode.read(setupcode.write(values[0])) == values[0]


def app(headers, values):
    file, found = io.BytesIO(values[0]), []
    for name, size in appfile.members(file):
        appfile.copy(file, size, len)
        found.append(name)
    assert " ".join(found) == headers["members"]


def contract(headers, values):
    walk = Monitor(values[0])
    steps = headers["steps"].split(", ")
    try:
        for step in steps:
            verb, _, name = step.partition(" ")
            if verb == "done":
                walk.answer()
            elif verb != "none":
                getattr(walk, verb)(*([name] if name else []))
    finally:
        assert walk.at == headers["at"]


CHECKS = {
    "contract": contract,
    "device_ccm": ccm_,
    "device_keys": keys,
    "device_handshake": handshake,
    "device_serial": serial,
    "device_window": window,
    "device_message": message,
    "device_entry": entry,
    "device_checkpoint": checkpoint,
    "device_rekey": rekey_,
    "device_offer": offer,
    "device_refuse": refuse,
    "device_setup": setup,
    "device_app": app,
}
KINDS = {
    2: "usage",
    3: "contract",
    4: "damaged",
    5: "denied",
    8: "conflict",
    9: "malformed",
    20: "too_large",
}


def judge(name, text):
    """What came out of the vector of this text, and what was expected."""
    headers, values = read(text)
    try:
        CHECKS[name](headers, values)
    except Fault as fault:
        return KINDS[fault.kind], headers["expect"]
    except AssertionError:
        return "differs", headers["expect"]
    return "ok", headers["expect"]


def main(folder):
    held = 0
    for name in sorted(CHECKS):
        for case in sorted(os.listdir(folder + "/" + name)):
            with open(folder + "/" + name + "/" + case) as file:
                verdict, expected = judge(name, file.read())
            if verdict == expected:
                held += 1
            else:
                print(name, case, "expected", expected, "found", verdict)
    print("held", held)


if __name__ == "__main__":
    main(sys.argv[1])
