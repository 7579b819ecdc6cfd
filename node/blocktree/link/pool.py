"""The links of one process: found or dialled on demand, one per peer and lane.

Invariants
  - Frames to one peer on one lane use the oldest open link, so their order holds although both
    ends may have dialled at once; of the process that came last, if several ran under its path.
  - Links are at most `LINKS_MAX`, and `LINKS_PER_PATH_MAX` with one path on one lane; peers that
    failed are remembered at most `REMEMBERED_MAX`.
  - A peer that failed n times is not tried again before 0.1 s x 2^n (at most 5 s), times a random
    half to whole, so that processes which lost a peer together do not come back together.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.link.frames import Lane
from blocktree.link.link import Link, OnClose, OnFrame, OnPause, again
from blocktree.link.opening import Side, dial
from blocktree.link.stagger import AllFailedError, stagger
from blocktree.names import Path

log = logging.getLogger(__name__)

LINKS_MAX = 512
LINKS_PER_PATH_MAX = 32  # on one lane
REMEMBERED_MAX = 1024
ADDRESSES_MAX = 8  # tried for one peer
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
CLOSE_S = 0.5  # for the peer to answer a good-bye
STAGGER_S = 0.25  # between dials of several addresses of one peer
Source = Callable[[Path], Iterable[str]]


@dataclass(slots=True)
class _Rest:
    """A peer that cannot be reached for now."""

    failures: int
    until: float
    fault: Fault


class Links:
    """The pool. Set `on_frame`, `on_close` and `on_pause` before the first link.

    `adopt` what listeners open.

    Args:
        side: who we are and whom we admit.
        dice: a number from 0 to 1, for the jitter of the back-off.
        clock: seconds that only go forward; the event loop's when None.
    """

    def __init__(
        self,
        side: Side,
        *,
        sources: Iterable[Source] = (),
        dice: Callable[[], float],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.side = side
        self.sources = list(sources)
        self.on_frame: OnFrame = _unwanted
        self.on_close: OnClose = _unnoticed
        self.on_pause: OnPause = _no_pause
        self._dice = dice
        self._clock = clock or asyncio.get_running_loop().time
        self._links: dict[tuple[Path, Lane], list[Link]] = {}
        self._count = 0
        self._dials: dict[tuple[Path, Lane], asyncio.Task[Link]] = {}
        self._resting: dict[Path, _Rest] = {}
        self._stopped = False

    def find(self, peer: Path, lane: Lane = Lane.CONTROL) -> Link | None:
        """An open link to that peer, if there is one."""
        links = self._links.get((peer, lane))
        return links[0] if links else None

    def beside(self, link: Link, lane: Lane) -> Link:
        """A link of `lane` to the very process at the other end of `link`, else `link` itself.

        Several processes may run under one path (two mounts on one laptop): what answers one of
        them must not reach another.
        """
        if link.lane is lane and link.closed is None:
            return link
        for which in (lane, link.lane, *Lane):
            for other in self._links.get((link.peer.path, which), ()):
                if other.instance == link.instance:
                    return other
        return link

    async def connect(self, peer: Path, lane: Lane = Lane.CONTROL) -> Link:
        """The open link to that peer, dialled if need be; callers at the same time share one dial.

        Raises:
            Fault: UNREACHABLE (at once while a peer rests after failures), or as `dial`.
        """
        found = self.find(peer, lane)
        if found is not None:
            return found
        if self._stopped:
            raise Fault(Kind.STOPPED, "the process is shutting down")
        key = (peer, lane)
        attempt = self._dials.get(key)
        if attempt is None:
            self._check_rest(peer)
            attempt = asyncio.get_running_loop().create_task(self._dial(peer, lane))
            self._dials[key] = attempt
            attempt.add_done_callback(lambda task: self._dialled(key, task))
        return await asyncio.shield(attempt)

    async def reach(self, address: str, lane: Lane = Lane.CONTROL) -> Link:
        """Dial a network address whoever of this tree answers there (`--addr`); as `dial`."""
        return await dial(address, self.side, self.adopt, lane=lane)

    def adopt(self, link: Link) -> None:
        """Take charge of a link that has just opened."""
        if self._stopped or self._count >= LINKS_MAX:
            raise Fault(Kind.BUSY, "too many links", path=self.side.credential.path)
        links = self._links.setdefault((link.peer.path, link.lane), [])
        if len(links) >= LINKS_PER_PATH_MAX:
            raise Fault(Kind.BUSY, "too many links from one path", path=link.peer.path)
        fellows = [other for other in links if other.instance == link.instance]
        strangers = [other for other in links if other.instance != link.instance]
        links[:] = [*fellows, link, *strangers]
        self._count += 1
        self._resting.pop(link.peer.path, None)
        link.on_frame = self.on_frame
        link.on_close = self._closed
        link.on_pause = self.on_pause

    def refresh(self, peer: Path) -> None:
        """Something new is known about that peer: the next attempt may come at once."""
        self._resting.pop(peer, None)

    def recheck(self) -> None:
        """Belonging has changed: close the links of who is no longer admitted."""
        for link in self.open_links():
            try:
                self.side.admit(link.peer)
            except Fault as fault:
                link.close(fault)

    def open_links(self) -> tuple[Link, ...]:
        """Every open link."""
        return tuple(link for links in self._links.values() for link in links)

    def peers(self) -> tuple[Identity, ...]:
        """Who is linked to us now, each once."""
        return tuple({link.peer.path: link.peer for link in self.open_links()}.values())

    def why_not(self, peer: Path) -> Fault | None:
        """The last failure to reach that peer, while it rests; for `bt status`."""
        rest = self._resting.get(peer)
        return again(rest.fault) if rest else None

    async def close(self) -> None:
        """Stop dialling, close every link, and wait (not long) until they are closed."""
        self._stopped = True
        dials = list(self._dials.values())
        for attempt in dials:
            attempt.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        links = self.open_links()
        for link in links:
            link.close(Fault(Kind.STOPPED, "the process is shutting down"))
        await asyncio.gather(*(link.gone(CLOSE_S) for link in links))

    # ---- inside

    def _closed(self, link: Link, fault: Fault) -> None:
        key = (link.peer.path, link.lane)
        links = self._links[key]
        links.remove(link)
        self._count -= 1
        if not links:
            del self._links[key]
        log.info("link closed: %s", fault)
        self.on_close(link, fault)

    def _check_rest(self, peer: Path) -> None:
        rest = self._resting.get(peer)
        if rest is not None and self._clock() < rest.until:
            raise again(rest.fault)

    def _dialled(self, key: tuple[Path, Lane], attempt: asyncio.Task[Link]) -> None:
        del self._dials[key]
        if not attempt.cancelled():
            fault = attempt.exception()
            if isinstance(fault, Fault):
                self._rest(key[0], fault)

    def _rest(self, peer: Path, fault: Fault) -> None:
        before = self._resting.pop(peer, None)
        failures = before.failures + 1 if before else 0
        pause = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** min(failures, 10))
        until = self._clock() + pause * (0.5 + self._dice() / 2)
        self._resting[peer] = _Rest(failures, until, fault)
        if len(self._resting) > REMEMBERED_MAX:
            del self._resting[next(iter(self._resting))]

    async def _dial(self, peer: Path, lane: Lane) -> Link:
        """Try every address known, a quarter of a second apart; the first that opens wins."""
        known = dict.fromkeys(text for source in self.sources for text in source(peer))
        addresses = list(known)[:ADDRESSES_MAX]
        if not addresses:
            raise Fault(
                Kind.UNREACHABLE,
                "no network address is known",
                path=peer,
                next_step="is it up, and on this network? or give --addr HOST:PORT",
            )
        try:
            return await stagger(
                [partial(self._try, each, peer, lane) for each in addresses], STAGGER_S
            )
        except AllFailedError as failed:
            raise _most_telling(failed.faults) from None

    async def _try(self, address: str, peer: Path, lane: Lane) -> Link:
        try:
            return await dial(address, self.side, self.adopt, expect=peer, lane=lane)
        except Fault as fault:
            what = f"{fault.what} (at {address})"
            raise Fault(fault.kind, what, path=peer, next_step=fault.next_step) from None


def _most_telling(faults: list[Fault]) -> Fault:
    """A refusal says more than silence; somebody else at the address is a peer out of reach.

    NOT_FOUND must not leave here: to whoever asked the peer it would say that a file is missing.
    """
    fault = next((f for f in faults if f.kind is not Kind.UNREACHABLE), faults[-1])
    if fault.kind is Kind.NOT_FOUND:
        return Fault(Kind.UNREACHABLE, fault.what, path=fault.path, next_step=fault.next_step)
    return fault


def _unwanted(_link: Link, _head: bytes, _body: object) -> None:
    raise Fault(Kind.CONTRACT, "nobody receives frames here")


def _unnoticed(_link: Link, _fault: Fault) -> None:
    pass


def _no_pause() -> None:
    pass
