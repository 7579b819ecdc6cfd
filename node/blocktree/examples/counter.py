"""A counter that survives the node it runs on, and counts nothing twice.

bt run counter.py:Counter --at /home/services/counter
bt ask /home/services/counter Add amount=5 request=monday-1
"""

from dataclasses import dataclass

from blocktree.actors import Call, plays, receives
from blocktree.contract import Contract, Role, State, answers, mirror
from blocktree.services.service import Service
from blocktree.wire import Record, record

REQUESTS_MAX = 256  # remembered, so that what is sent again is not counted again


@record(0xE001)
@dataclass(frozen=True, slots=True)
class Add(Record):
    """Count `amount` more; with the same `request` again, nothing happens again."""

    amount: int
    request: str = ""


@record(0xE002)
@dataclass(frozen=True, slots=True)
class Read(Record):
    """Ask for the total."""


@record(0xE003)
@dataclass(frozen=True, slots=True)
class Total(Record):
    """The total, after so many additions."""

    total: int
    additions: int


COUNTER = Contract(
    "counter",
    1,
    Role("counter", State("counting", answers(Add, Total), answers(Read, Total))),
    mirror("asker"),
)


@plays(COUNTER.role("counter"))
class Counter(Service):
    """Counts. What it answered is kept, wherever it runs next."""

    total = additions = 0

    async def started(self) -> None:
        """Go on where the last one ended."""
        self.requests: list[str] = []
        if self.state.value is not None:
            self.total, self.additions, self.requests = self.state.value
        self.condition = f"at {self.total}"

    @receives
    async def add(self, message: Add, call: Call) -> Total:
        """Count, keep it, then answer: an answer is never taken back."""
        if not message.request or message.request not in self.requests:
            requests = [*self.requests, message.request] if message.request else self.requests
            total, additions = self.total + message.amount, self.additions + 1
            await self.state.save([total, additions, requests[-REQUESTS_MAX:]])
            self.total, self.additions, self.requests = self.state.value
            self.condition = self.latest = f"at {self.total}"
        return Total(self.total, self.additions)

    @receives
    def read(self, message: Read, call: Call) -> Total:
        """Say the total."""
        return Total(self.total, self.additions)
