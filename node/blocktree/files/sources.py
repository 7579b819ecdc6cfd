"""What is known of every process as a sender of blobs: how quick, how full, how honest.

A source that sent bytes with a wrong hash is blamed: it is avoided for the rest of this process's
life as a peer, and as a node asked only when nobody else has the blob. `bt peer` shows the counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from blocktree.fault import Fault
from blocktree.names import Address

CACHE_ACTOR = "cache"
SOURCES_MAX = 1024
_HIT_RATE_MIN = 0.1  # a peer that has less of what it is asked for is left alone …
_SECOND_CHANCE_S = 10.0  # … for so long
_WEIGHT = 0.2  # of the newest observation in the averages
_REST_S = 1.0  # after it did not answer, doubled for each time in a row
_REST_DOUBLINGS_MAX = 6
_OUTSTANDING_MAX = 4  # messages to one source at a time; more go to the next


@dataclass(slots=True, eq=False)
class Source:
    """One sender. Times in seconds, sizes in bytes."""

    address: Address
    outstanding: int = 0
    latency: float = 0.0  # average of whole answers
    hit_rate: float = 1.0  # average share of asked blobs that it had
    rest_until: float = 0.0
    asked: float = 0.0  # when last
    answers: int = 0
    failures: int = 0
    failures_in_row: int = 0
    blobs: int = 0
    received: int = 0
    bad: int = 0
    complaint: str = ""

    def ask(self, now: float) -> None:
        """A message to it is on its way."""
        self.asked = now
        self.outstanding += 1

    def answered(self, seconds: float, size: int, had: int) -> None:
        """It answered with `had` blobs of `size` bytes in total."""
        self.answers += 1
        self.failures_in_row = 0
        self.blobs += had
        self.received += size
        self.latency += _WEIGHT * (seconds - self.latency)
        self.hit_rate += _WEIGHT * (float(had > 0) - self.hit_rate)

    def late(self, now: float) -> None:
        """It has not answered yet, though it should have: ask others first for a while."""
        self.rest_until = now + _REST_S

    def failed(self, now: float) -> None:
        """It did not answer: ask others first for a while, longer each time in a row."""
        self.failures += 1
        self.failures_in_row = min(self.failures_in_row + 1, _REST_DOUBLINGS_MAX)
        self.rest_until = now + _REST_S * 2**self.failures_in_row


class Sources:
    """All senders that this process has met, bounded."""

    def __init__(self) -> None:
        self._known: dict[Address, Source] = {}

    def of(self, address: Address) -> Source:
        """What is known of the process at this address."""
        source = self._known.get(address)
        if source is None:
            if len(self._known) >= SOURCES_MAX:
                self._forget_one()
            source = self._known[address] = Source(address)
        return source

    def best(self, choices: Iterable[Source], now: float, *, peer: bool) -> Source | None:
        """Whom to ask: the one with the shortest expected wait.

        A peer is left out when it was blamed, rests, is busy, or hardly ever has what is asked
        for; a node never is, only put last, because it may be the last that has the blob.
        """
        chosen = [c for c in choices if not peer or self._worth(c, now)]
        return min(
            chosen,
            key=lambda c: (
                c.bad > 0,
                max(c.rest_until - now, 0.0),
                (c.outstanding + 1) * (c.latency + 1e-4),
            ),
            default=None,
        )

    def blame(self, source: Source, fault: Fault) -> None:
        """Bytes from this source were not what their name says."""
        source.bad += 1
        source.complaint = fault.what

    def all(self) -> list[Source]:
        """Every source, for `bt peer`."""
        return list(self._known.values())

    @staticmethod
    def _worth(peer: Source, now: float) -> bool:
        return (
            not peer.bad
            and peer.rest_until <= now
            and peer.outstanding < _OUTSTANDING_MAX
            and (peer.hit_rate > _HIT_RATE_MIN or now - peer.asked > _SECOND_CHANCE_S)
        )

    def _forget_one(self) -> None:
        for address, source in self._known.items():
            if not source.outstanding and not source.bad:
                del self._known[address]
                return
