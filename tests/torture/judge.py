"""Decides from the journals, and from what a fresh client reads, whether a promise was broken."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blocktree.sim.linear import Operation, linearizable
from torture.content import content_of, value_of
from torture.worker import PIECE, SIZES

_EXCUSES = {"NOT_LEADER", "UNREACHABLE", "NO_QUORUM", "BUSY", "STOPPED", "NO_SPACE"}


def _excused(what: str, kind: str) -> bool:
    """Whether troubles explain such a fault.

    Of two writers who make one register at the same time, the one whose lease was lost in a trouble
    before its commit is told that somebody else was quicker.
    """
    return kind in _EXCUSES or (what == "write" and kind == "EXISTS")


@dataclass(slots=True)
class Kept:
    """What may have become of one file of a keeper."""

    value: int
    size: int
    names: set[str | None]  # None: it is not there
    certain: bool = True  # its content was acknowledged


@dataclass(slots=True)
class Record:
    """Everything that the clients of a run saw."""

    registers: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    kept: dict[str, Kept] = field(default_factory=dict)
    grown: Counter[str] = field(default_factory=Counter)  # acknowledged length
    told: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    surprises: Counter[str] = field(default_factory=Counter)  # that no trouble explains

    def add(self, journal: Path) -> None:
        """Read what one worker wrote down; it may have been killed in the middle of a line."""
        lines = journal.read_text().splitlines() if journal.exists() else []
        open_calls: dict[int, list[Any]] = {}
        for line in lines:
            try:
                at, what, *fields = json.loads(line)
            except ValueError:
                continue
            if what == "call":
                open_calls[fields[0]] = [at, *fields[1:]]
            elif what == "done":
                self._happened(open_calls.pop(fields[0]), at, fields[1])
            elif what == "failed":
                call = open_calls.pop(fields[0])
                self.faults[fields[1]] += 1
                if not _excused(call[1], fields[1]):
                    self.surprises[f"{fields[1]}: {fields[2]}"] += 1
                self._happened(call, None, 0)
            else:
                self.wrong.append(f"{journal.name}: wrong bytes in {fields}")
        for call in open_calls.values():
            self._happened(call, None, 0)

    def _happened(self, call: list[Any], returned: int | None, result: int) -> None:
        """An operation that returned, or one whose outcome nobody knows (None)."""
        at, what, name, value = call
        sure = returned is not None
        self.told[f"{what} {'acknowledged' if sure else 'open'}"] += 1
        if what == "write":
            self.registers[name].append(
                Operation(name, write=True, value=value, called=at, returned=returned)
            )
        elif what == "read":
            if sure:
                self.registers[name].append(
                    Operation(name, write=False, value=result, called=at, returned=returned)
                )
        elif what == "make":
            names: set[str | None] = {name} if sure else {name, None}
            self.kept[name] = Kept(int(name[1:]), value, names, certain=sure)
        elif what == "grow":
            self.grown[name] = max(self.grown[name], value if sure else 0)
        else:
            file = self.kept[name.rstrip("m")]
            goal = name + "m" if what == "move" else None
            file.names = {goal} if sure else {*file.names, goal}

    # judging

    def tangled(self) -> list[str]:
        """Registers whose history has no explanation."""
        return [
            f"{name} is not linearizable ({len(history)} operations)"
            for name, history in self.registers.items()
            if not linearizable(history)
        ]

    def missing(self, found: Mapping[str, bytes]) -> list[str]:
        """What was acknowledged and is not there, or there with wrong bytes."""
        return [*self._lost_files(found), *self._short(found), *self._wrong_registers(found)]

    def _lost_files(self, found: Mapping[str, bytes]) -> Iterable[str]:
        for first, file in self.kept.items():
            there = [name for name in (first, *_moved(first)) if name in found]
            if len(there) > 1:
                yield f"{first} is there several times: {there}"
            name = there[0] if there else None
            if name not in file.names:
                yield f"{first} is {name or 'not there'}, not one of {sorted(map(str, file.names))}"
            if name is None:
                continue
            content = found[name]
            if content != content_of(file.value, file.size) and (file.certain or content):
                yield f"{name} has {len(content)} wrong bytes of {file.size}"

    def _short(self, found: Mapping[str, bytes]) -> Iterable[str]:
        for name, length in self.grown.items():
            content = found.get(name, b"")
            if len(content) < length:
                yield f"{name} has {len(content)} bytes, {length} were acknowledged"
            for number in range(len(content) // PIECE):
                piece = content[number * PIECE : (number + 1) * PIECE]
                if piece != content_of(number + 1, PIECE):
                    yield f"{name} has wrong bytes at {number * PIECE}"
                    break

    def _wrong_registers(self, found: Mapping[str, bytes]) -> Iterable[str]:
        for name in self.registers:
            size = SIZES[int(name.rpartition(".")[2])]
            if value_of(found.get(name, b""), size) is None:
                yield f"{name} has wrong bytes at the end"

    def read_at_end(self, found: Mapping[str, bytes], at: int) -> None:
        """A last read of every register, by a fresh client."""
        for name, history in self.registers.items():
            value = int.from_bytes(found.get(name, b"")[:16])
            history.append(Operation(name, write=False, value=value, called=at, returned=at + 1))


def _moved(name: str) -> Iterable[str]:
    return (name + "m" * times for times in range(1, 64))
