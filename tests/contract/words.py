"""Messages for contracts in tests."""

from dataclasses import dataclass

from blocktree.wire import Body, Record, body_field, record


@record(0x7D01)
@dataclass(frozen=True, slots=True)
class Open(Record):
    who: str = "jo"


@record(0x7D02)
@dataclass(frozen=True, slots=True)
class Opened(Record):
    pass


@record(0x7D03)
@dataclass(frozen=True, slots=True)
class Refused(Record):
    pass


@record(0x7D04)
@dataclass(frozen=True, slots=True)
class Put(Record):
    number: int = 0


@record(0x7D05)
@dataclass(frozen=True, slots=True)
class Get(Record):
    pass


@record(0x7D06)
@dataclass(frozen=True, slots=True)
class Got(Record):
    number: int = 0


@record(0x7D07)
@dataclass(frozen=True, slots=True)
class Close(Record):
    pass


@record(0x7D08)
@dataclass(frozen=True, slots=True)
class Ready(Record):
    pass


@record(0x7D09)
@dataclass(frozen=True, slots=True)
class Piece(Record):
    number: int = 0
    body: Body = body_field()


@record(0x7D0A)
@dataclass(frozen=True, slots=True)
class Seal(Record):
    number: int = 0
