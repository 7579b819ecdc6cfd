"""The messages of the thermostat in `contract/SPEC.md`."""

from dataclasses import dataclass

from blocktree.wire import Record, record


@record(0x7D20)
@dataclass(frozen=True, slots=True)
class SetTarget(Record):
    celsius: float


@record(0x7D21)
@dataclass(frozen=True, slots=True)
class Target(Record):
    celsius: float


@record(0x7D22)
@dataclass(frozen=True, slots=True)
class Refused(Record):
    pass


@record(0x7D23)
@dataclass(frozen=True, slots=True)
class Cancel(Record):
    pass


@record(0x7D24)
@dataclass(frozen=True, slots=True)
class Warm(Record):
    pass
