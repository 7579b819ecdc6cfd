"""Linearizability of a history over registers (Wing & Gong 1993, Lowe 2017).

A history is linearizable if every operation can be given one moment between its call and its return
such that each read gives the last value written. Registers are independent, so each key is searched
by itself. Values written are unique, which allows two shortcuts that lose nothing: a read that fits
the present value may be placed at once, since placing it changes nothing; and a write of unknown
outcome that nobody ever read may be placed after everything else, so it is left out.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

NEVER = 1 << 62
STEPS_MAX = 200_000


@dataclass(slots=True)
class Operation:
    """One write or read of one key, from call to return; `returned` None = outcome unknown."""

    key: str
    write: bool
    value: int
    called: int
    returned: int | None = None


def unexplained_key(history: Sequence[Operation], initial: int = 0) -> str | None:
    """The first key whose operations have no linearization, or None."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    for key, operations in sorted(by_key.items()):
        if not linearizable(operations, initial):
            return key
    return None


def linearizable(operations: Sequence[Operation], initial: int = 0) -> bool:
    """Whether the operations on one register have a linearization."""
    seen_values = {op.value for op in operations if not op.write}
    kept = [op for op in operations if op.returned is not None or _matters(op, seen_values)]
    kept.sort(key=lambda op: op.called)
    must = sum([1 << place for place, op in enumerate(kept) if op.returned is not None])
    stack = [(0, initial)]
    seen: set[tuple[int, int]] = set()
    while stack:
        done, value = stack.pop()
        done, writes = _advance(kept, done, value)
        if done & must == must:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        assert len(seen) < STEPS_MAX, "the history is too tangled to judge"
        stack += [(done | 1 << place, kept[place].value) for place in reversed(writes)]
    return False


def _matters(operation: Operation, seen_values: set[int]) -> bool:
    return operation.write and operation.value in seen_values


def _advance(kept: Sequence[Operation], done: int, value: int) -> tuple[int, list[int]]:
    """Place every read that fits `value` now; the writes that may come next."""
    while True:
        limit, reads, writes = NEVER, 0, []
        first = (~done & (done + 1)).bit_length() - 1  # the lowest place not done
        for place in range(first, len(kept)):
            if done >> place & 1:
                continue
            operation = kept[place]
            if operation.called > limit:
                break
            if operation.returned is not None and operation.returned < limit:
                limit = operation.returned
            if operation.write:
                writes.append(place)
            elif operation.value == value:
                reads |= 1 << place
        if not reads:
            return done, writes
        done |= reads
