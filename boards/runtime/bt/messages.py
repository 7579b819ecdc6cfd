"""The messages between a device and its gateway: codes, and what each field must be.

A message is a tuple `(code, field, …)`; its bytes are the record's of `wire/SPEC.md`. A shape is
one letter a field: `n` integer ≥ 0, `i` integer, `b` bytes, `t` text, `T` texts, `I` integers or
nothing, `?` integer ≥ 0 or nothing; a number behind `b` is the exact length.
"""

from bt import cbor
from bt.fault import MALFORMED, TOO_LARGE, Fault

MESSAGE_MAX = 224

REPORT, FACE, ALIVE, ASLEEP, TIME_ASK, TIME_TOLD = 0x0C01, 0x0C02, 0x0C03, 0x0C04, 0x0C05, 0x0C06
GATEWAYS, BYE = 0x0C07, 0x0C08
ENTRY, CHECKPOINT, KEPT = 0x0C10, 0x0C11, 0x0C12
COMMAND, ANSWER = 0x0C20, 0x0C21
OFFER, WANT, CHUNK, TAKEN, APP_STATE = 0x0C30, 0x0C31, 0x0C32, 0x0C33, 0x0C34
ADOPT, BELONG, JOIN, ADOPTED, REKEY, REKEYED, RENAME = range(0x0C40, 0x0C47)
START, READING, CLOCK, LOST, NOTE = range(0x0C50, 0x0C55)

_SHAPES = {
    REPORT: "b32 n n n n t t t b8 n n",
    FACE: "T T",
    ALIVE: "n",
    ASLEEP: "n",
    TIME_ASK: "n",
    TIME_TOLD: "n n",
    GATEWAYS: "T",
    BYE: "n t",
    ENTRY: "n n n b32 b",
    CHECKPOINT: "n n b32 ? b64",
    KEPT: "n n",
    COMMAND: "b8 t b",
    ANSWER: "b8 n b n ?",
    OFFER: "n t n b32 b16",
    WANT: "b32 n",
    CHUNK: "n b",
    TAKEN: "b32 n t",
    APP_STATE: "t b8 n n t",
    ADOPT: "n b32 b32 b32",
    BELONG: "b32 t",
    JOIN: "t t",
    ADOPTED: "b32 t",
    REKEY: "n b104",
    REKEYED: "n n t",
    RENAME: "t",
    START: "t b8 T n n b32",
    READING: "n ? I",
    CLOCK: "n n",
    LOST: "n n n n",
    NOTE: "n ? n t",
}


def encode(*message):
    """The bytes of a message `(code, field, …)`; its sender vouches for its shape."""
    data = cbor.dumps(message)
    if len(data) > MESSAGE_MAX:
        raise Fault(TOO_LARGE, "a message of %d bytes" % len(data))
    return data


def decode(data):
    """The message `(code, field, …)` in `data`.

    Raises:
        Fault: MALFORMED if it is none, TOO_LARGE if it is longer than any.
    """
    if len(data) > MESSAGE_MAX:
        raise Fault(TOO_LARGE, "a message of %d bytes" % len(data))
    message = cbor.loads(data)
    if not isinstance(message, tuple) or not message or message[0] is True:
        raise Fault(MALFORMED, "not a message")
    shape = _SHAPES.get(message[0])
    if shape is None:
        raise Fault(MALFORMED, "no message has this code")
    shape = shape.split(" ")
    if len(shape) != len(message) - 1:
        raise Fault(MALFORMED, "message 0x%x with %d fields" % (message[0], len(message) - 1))
    for kind, value in zip(shape, message[1:]):
        if not _fits(kind, value):
            raise Fault(MALFORMED, "message 0x%x: a field is not %s" % (message[0], kind))
    return message


def _fits(kind, value):
    if kind[0] == "b":
        return isinstance(value, bytes) and (len(kind) == 1 or len(value) == int(kind[1:]))
    if kind == "t":
        return isinstance(value, str)
    if kind == "T":
        return isinstance(value, tuple) and all([isinstance(item, str) for item in value])
    if kind == "I":
        return isinstance(value, tuple) and all([v is None or _integer(v) for v in value])
    if kind == "?" and value is None:
        return True
    return _integer(value) and (kind == "i" or value >= 0)


def _integer(value):
    return isinstance(value, int) and value is not True and value is not False
