"""What an actor that the tree runs is written against: `class Counter(Service)`.

It runs on one node at a time and on another when that dies. What it wants to know then, it keeps:
`await self.state.save(…)` is durable on a quorum, and refused when another has taken its place.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import cbor2

from blocktree.actors import Actor
from blocktree.fault import Fault, Kind

Keep = Callable[[int, bytes], Awaitable[None]]  # serial and state; raises `Fault`


class State:
    """The state of one actor, kept in the tree.

    Args:
        serial: of what was kept last; 0: nothing yet.
        kept: what was kept last.
        keep: keeps the next.
    """

    def __init__(self, serial: int, kept: bytes, keep: Keep) -> None:
        self._serial = serial
        self._keep = keep
        self.value: Any = cbor2.loads(kept) if kept else None  # None: nothing was kept yet

    async def save(self, value: Any) -> None:
        """Keep a value of plain data (None, numbers, text, bytes, lists, dicts).

        When it returns, the value is durable on a quorum and `value` is it. When it raises,
        whether it was kept may be open: then the process ends, and another begins with what was
        kept. So let what it raises be the answer.

        Raises:
            Fault: CONFLICT if another acts in this actor's place; TOO_LARGE over 16 KiB;
                NO_QUORUM or UNREACHABLE.
        """
        try:
            encoded = cbor2.dumps(value, canonical=True)
        except (cbor2.CBOREncodeError, TypeError, ValueError) as cause:
            raise Fault(Kind.USAGE, f"a state that is not plain data: {cause}") from None
        await self._keep(self._serial + 1, encoded)
        self._serial += 1
        self.value = value


class Service(Actor):
    """Inherit from it, mark methods with `@receives`, and run it with `bt run`."""

    state: State  # set before `started`
