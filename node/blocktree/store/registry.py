"""Who answers where, as the leader remembers it from heartbeat to heartbeat, for its term only.

A pure machine: times are arguments, in seconds of a clock that counts time asleep.

Invariants
- An offer is listed until OFFER_S after its last heartbeat.
- A claim may get another holder only when the lease of the present one has surely ended: it gave it
  back, or LEASE_S of the leader's clock and a tenth more passed since the last answer that extended
  it. What an earlier leader answered is not known: that counts from the start of this leadership.
- A claim that is being given to another is extended no more.

Why a new leader may count from its start. An answer that extends a lease is given only after the
leader made sure, later than the request was sent, that no other leader could exist. So every
lease of the past was counted by its holder from before this leader was elected, and has ended
LEASE_S after. Rates of clocks may differ by a tenth.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from blocktree.fault import Fault, Kind
from blocktree.names import Path, PrincipalId, components
from blocktree.store.place_messages import (
    ADDRESSES_MAX,
    LEASE_S,
    OFFER_S,
    STAYS_MAX,
    Provider,
    Stay,
)

SESSIONS_MAX: Final = 4096
OFFERS_MAX: Final = 1 << 15
SAFE_S: Final = LEASE_S * 1.1
COMES_S: Final = 15.0  # for the node that an actor asks for, after this leadership began
BACK_S: Final = 3.0  # and after it was there


@dataclass(slots=True)
class _Life:
    """One process, as its heartbeats tell."""

    process: Path
    until: float
    revision: int = -1
    addresses: tuple[str, ...] = ()
    offers: dict[Path, str] = field(default_factory=dict)  # to the actor
    claims: dict[Path, int] = field(default_factory=dict)  # to the epoch


@dataclass(frozen=True, slots=True)
class _Volunteer:
    """A node that runs actors."""

    session: bytes
    principal: PrincipalId
    until: float


class Registry:
    """The registrations of one leadership."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._lives: dict[bytes, _Life] = {}
        self._at: dict[Path, set[bytes]] = {}  # offers, to the sessions
        self._safe: dict[Path, float] = {}  # claims, to when another may hold it
        self._changing: set[Path] = set()
        self._volunteers: dict[Path, _Volunteer] = {}

    # ---- offers

    def offer(self, session: bytes, process: Path, path: Path, actor: str, now: float) -> None:
        """Remember that an actor answers at a path.

        Raises:
            Fault: BUSY if too much is remembered.
        """
        life = self._life(session, process, now)
        if path not in life.offers and len(life.offers) + len(life.claims) >= STAYS_MAX:
            raise Fault(Kind.BUSY, f"one process registers more than {STAYS_MAX}", path=path)
        if path not in self._at and len(self._at) >= OFFERS_MAX:
            raise Fault(Kind.BUSY, f"more than {OFFERS_MAX} offers", path=path)
        life.offers[path] = actor
        self._at.setdefault(path, set()).add(session)
        life.until = max(life.until, now + OFFER_S)

    def offers_at(self, path: Path, now: float) -> list[Provider]:
        """The live offers at a path."""
        found = []
        for session in tuple(self._at.get(path, ())):
            life = self._lives[session]
            if life.until < now:
                self.leave(session)
            else:
                found.append(Provider(path, life.process, life.offers[path], 0, life.addresses))
        return found

    def offered(self, now: float) -> list[Path]:
        """All paths with an offer that is not known to be dead."""
        return [path for path in sorted(self._at) if self.offers_at(path, now)]

    # ---- claims

    def extend(self, path: Path, now: float) -> bool:
        """The holder's lease was extended by an answer given now; False: it may be no more."""
        if path in self._changing:
            return False
        self._safe[path] = max(self._safe_at(path), now + SAFE_S)
        return True

    def alive(self, path: Path, now: float) -> bool:
        """Whether the holder of a path may still act."""
        return now < self._safe_at(path) and path not in self._changing

    def begin(self, path: Path, now: float, *, same: bool) -> None:
        """Somebody is to become the holder; nobody is extended there until `decided`.

        `same`: it is the present holder itself that asks again.

        Raises:
            Fault: BUSY while another is to become it, CONFLICT while the present one may act.
        """
        if path in self._changing:
            raise Fault(Kind.BUSY, "it is just being given to somebody", path=path)
        left = self._safe_at(path) - now
        if left > 0 and not same:
            raise Fault(
                Kind.CONFLICT,
                f"another holds it, for {left:.1f} s at least",
                path=path,
                next_step="try again later, or stop the other",
            )
        self._changing.add(path)

    def decided(self, path: Path, now: float) -> None:
        """The change that began is applied, or was never proposed."""
        self._changing.discard(path)
        self._safe[path] = now + SAFE_S

    # ---- heartbeats

    def listens(
        self, session: bytes, process: Path, addresses: tuple[str, ...], now: float
    ) -> None:
        """A process said where it listens.

        Raises:
            Fault: USAGE for too many addresses; BUSY, DENIED.
        """
        if len(addresses) > ADDRESSES_MAX:
            raise Fault(Kind.USAGE, f"more than {ADDRESSES_MAX} addresses")
        self._life(session, process, now).addresses = addresses

    def addresses_of(self, session: bytes) -> tuple[str, ...]:
        """Where a process listens, as it said."""
        life = self._lives.get(session)
        return () if life is None else life.addresses

    def renew(
        self, session: bytes, process: Path, revision: int, stays: Iterable[Stay], now: float
    ) -> None:
        """A heartbeat: these (or those of the same revision) are all that the process registered.

        Raises:
            Fault: NOT_FOUND if nothing is known of that revision; BUSY.
        """
        listed = tuple(stays)
        known = self._lives.get(session)
        if not listed and (known is None or known.revision != revision):
            raise Fault(Kind.NOT_FOUND, "that revision is not known here", next_step="send all")
        life = self._life(session, process, now)
        if listed:
            self._forget_offers(session, life)
            life.claims = {stay.path: stay.epoch for stay in listed if stay.epoch}
            life.revision = revision
            for stay in listed:
                if not stay.epoch:
                    self.offer(session, process, stay.path, stay.actor, now)
        life.until = now + OFFER_S

    def claims_of(self, session: bytes) -> Mapping[Path, int]:
        """The claims that a process told of, with their epochs."""
        life = self._lives.get(session)
        return {} if life is None else life.claims

    def withdraw(self, session: bytes, path: Path) -> None:
        """One offer of a process is over."""
        life = self._lives.get(session)
        if life is not None and life.offers.pop(path, None) is not None:
            self._unlist(path, session)
            life.revision = -1

    def leave(self, session: bytes) -> None:
        """All offers of a process are over."""
        life = self._lives.pop(session, None)
        if life is not None:
            self._forget_offers(session, life)

    def expire(self, now: float) -> None:
        """Forget the processes that are silent."""
        for session, life in list(self._lives.items()):
            if life.until < now:
                self.leave(session)

    # ---- who runs actors

    def volunteer(self, process: Path, session: bytes, principal: PrincipalId, now: float) -> None:
        """A node offers to run actors of the tree."""
        self._volunteers[process] = _Volunteer(session, principal, now + OFFER_S)

    def choose(
        self, on: str, load: Mapping[Path, int], now: float, *, only: bool = False
    ) -> tuple[Path, bytes, PrincipalId] | None:
        """The live volunteer that runs the least, or the one asked for; None if there is none.

        The one asked for is waited for, not long if it was there a moment ago; `only`: for ever.
        """
        live = {path: one for path, one in self._volunteers.items() if one.until >= now}
        wanted = [path for path in live if path == on]
        if not wanted and not (on and (only or now < self._waited_for(Path(on)))):
            wanted = list(live)
        if not wanted:
            return None
        path = min(wanted, key=lambda path: (load.get(path, 0), path))
        return path, live[path].session, live[path].principal

    def _waited_for(self, node: Path) -> float:
        """Until when a node that is asked for may still come, before another takes its place."""
        known = self._volunteers.get(node)
        return self._began + COMES_S if known is None else known.until + BACK_S

    # ---- inside

    def _safe_at(self, path: Path) -> float:
        return self._safe.get(path, self._began + SAFE_S)

    def _life(self, session: bytes, process: Path, now: float) -> _Life:
        life = self._lives.get(session)
        if life is None:
            if len(self._lives) >= SESSIONS_MAX:
                self.expire(now)
                if len(self._lives) >= SESSIONS_MAX:
                    raise Fault(Kind.BUSY, f"more than {SESSIONS_MAX} processes register")
            life = self._lives[session] = _Life(process, now + OFFER_S)
        if life.process != process:
            raise Fault(Kind.DENIED, "a session of another process", path=life.process)
        return life

    def _forget_offers(self, session: bytes, life: _Life) -> None:
        for path in life.offers:
            self._unlist(path, session)
        life.offers.clear()

    def _unlist(self, path: Path, session: bytes) -> None:
        sessions = self._at.get(path)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._at[path]


def nearest(providers: Iterable[Provider], asker: Path) -> list[Provider]:
    """Those on the asker's own process first, then by how much of their way is the same."""
    mine = components(asker)

    def distance(provider: Provider) -> tuple[int, str]:
        theirs = components(provider.process)
        common = 0
        for one, other in zip(mine, theirs, strict=False):
            if one != other:
                break
            common += 1
        return (len(mine) + len(theirs) - 2 * common, provider.process)

    return sorted(providers, key=distance)
