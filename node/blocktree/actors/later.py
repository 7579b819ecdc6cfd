"""An answer that is given later, and handed on in the very moment when it is."""

import asyncio
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from blocktree.fault import Fault
from blocktree.wire import Record

_R = TypeVar("_R", bound=Record)


class Later(Generic[_R]):
    """What a plain method returns to answer later.

    A future does the same one turn of the event loop later; here `set_result` sends the answer. For
    one who waits it is an awaitable. One outcome, given once; a second is ignored.
    """

    __slots__ = ("_outcome", "_told")

    def __init__(self) -> None:
        self._outcome: _R | Fault | None = None
        self._told: Callable[[_R | Fault], None] | None = None

    def done(self) -> bool:
        """Whether the outcome is there."""
        return self._outcome is not None

    def set_result(self, result: _R) -> None:
        """Answer with a record."""
        self._settle(result)

    def set_exception(self, fault: Fault) -> None:
        """Answer with a fault."""
        self._settle(fault)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._told = None

    def tell(self, told: Callable[[_R | Fault], None]) -> None:
        """Say to whom the outcome goes, at once if it is there already."""
        assert self._told is None, "one waits for it"
        if self._outcome is not None:
            told(self._outcome)
        else:
            self._told = told

    def __await__(self) -> Generator[None, None, _R]:
        """Wait for the outcome."""
        if self._outcome is None:
            there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.tell(lambda _: None if there.done() else there.set_result(None))
            yield from there
        assert self._outcome is not None
        if isinstance(self._outcome, Fault):
            raise self._outcome
        return self._outcome

    def _settle(self, outcome: _R | Fault) -> None:
        if self._outcome is not None:
            return
        self._outcome = outcome
        if self._told is not None:
            self._told(outcome)
