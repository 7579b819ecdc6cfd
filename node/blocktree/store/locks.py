"""flock and fcntl locks, kept by the leader in memory and tied to client sessions.

A pure machine: times are arguments, in seconds. POSIX.1-2017 (fcntl) says how ranges of one owner
replace, split and free each other; flock is the same on the whole file, in a name space of its own.

Invariants
- Two locks of one file and name space overlap only if both are READ or both have one owner.
- The ranges of one owner do not overlap each other.
- Every waiter is in the way of nobody but later waiters; it is granted in the order of arrival
  among those that its file allows.
- During the grace period after a change of leader only re-asserted locks are taken.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NewType

from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.store.messages import SESSION_SECONDS, HeldLock, LockKind, LockRange

Waiter = NewType("Waiter", int)  # a number the caller chose for a request that waits
LOCKS_MAX = 1 << 16
WAITERS_MAX = 256
GRACE_SECONDS = 3.0  # sessions with locks report every second


@dataclass(frozen=True, slots=True)
class _Held:
    session: bytes
    lock: LockRange

    def same_owner(self, session: bytes, lock: LockRange) -> bool:
        return self.session == session and self.lock.owner == lock.owner

    def overlaps(self, lock: LockRange) -> bool:
        mine = self.lock
        return mine.flock == lock.flock and mine.start <= lock.end and lock.start <= mine.end


@dataclass(frozen=True, slots=True)
class _Waiting:
    waiter: Waiter
    session: bytes
    lock: LockRange


@dataclass(frozen=True, slots=True)
class Woken:
    """Waiters whose wait is over: some hold their lock now, some will never."""

    granted: tuple[Waiter, ...] = ()
    withdrawn: tuple[Waiter, ...] = ()


class LockTable:
    """All locks of one leadership; `epoch` is its term."""

    def __init__(self, epoch: int, now: float) -> None:
        self.epoch = epoch
        self._grace_until = now + GRACE_SECONDS
        self._held: dict[FileId, list[_Held]] = {}
        self._waiting: dict[FileId, list[_Waiting]] = {}
        self._heard: dict[bytes, float] = {}
        self._count = 0

    def grace(self, now: float) -> float:
        """Seconds for which locks can be re-asserted and no new ones taken."""
        return max(0.0, self._grace_until - now)

    def alive(self, session: bytes, now: float) -> None:
        """The session was heard of."""
        if session in self._heard:
            self._heard[session] = now

    def take(self, session: bytes, file: FileId, lock: LockRange, now: float) -> LockRange | None:
        """Take a lock; what stands in the way if it cannot be had now.

        Raises:
            Fault: USAGE for an empty range, BUSY in the grace period or with too many locks.
        """
        _check(lock)
        if self.grace(now):
            raise Fault(Kind.BUSY, "locks are being re-asserted after a change of leader")
        return self._take(session, file, lock, now)

    def wait(self, waiter: Waiter, session: bytes, file: FileId, lock: LockRange) -> None:
        """Stand in line after `take` said no.

        Raises:
            Fault: BUSY if too many wait already.
        """
        if sum(map(len, self._waiting.values())) >= WAITERS_MAX:
            raise Fault(Kind.BUSY, "too many wait for locks")
        self._waiting.setdefault(file, []).append(_Waiting(waiter, session, lock))

    def give_up(self, waiter: Waiter, file: FileId) -> None:
        """A request waits no longer; nothing changes if its wait is over."""
        line = [item for item in self._waiting.pop(file, ()) if item.waiter != waiter]
        if line:
            self._waiting[file] = line

    def reassert(self, session: bytes, held: Iterable[HeldLock], now: float) -> None:
        """Take again what the session says it held under the leader before.

        Raises:
            Fault: CONFLICT naming a file whose lock somebody else has got meanwhile; BUSY.
        """
        for item in held:
            _check(item.lock)
            if self._take(session, item.file, item.lock, now) is not None:
                raise Fault(
                    Kind.CONFLICT,
                    "the lock was lost: it was not re-asserted in time",
                    path=item.file.hex(),
                )

    def free(self, session: bytes, file: FileId, lock: LockRange, now: float) -> Woken:
        """Free the owner's locks in this range and withdraw its waiting there."""
        withdrawn = self._withdraw(file, session, lock)
        self._cut(session, file, lock)
        return Woken(self._wake(file, now), withdrawn)

    def probe(self, session: bytes, file: FileId, lock: LockRange) -> LockRange | None:
        """What stands in the way of a lock."""
        _check(lock)
        return next(self._conflicts(session, file, lock), None)

    def expire(self, now: float) -> Woken:
        """Drop the sessions that were silent too long."""
        late = [s for s, heard in self._heard.items() if now - heard > SESSION_SECONDS]
        woken = [self.drop(session, now) for session in late]
        return Woken(
            tuple(waiter for item in woken for waiter in item.granted),
            tuple(waiter for item in woken for waiter in item.withdrawn),
        )

    def drop(self, session: bytes, now: float) -> Woken:
        """Free everything a session has."""
        self._heard.pop(session, None)
        granted: list[Waiter] = []
        withdrawn: list[Waiter] = []
        for file in list(self._held.keys() | self._waiting.keys()):
            withdrawn += self._withdraw(file, session, None)
            self._keep(file, [h for h in self._held.get(file, ()) if h.session != session])
            granted += self._wake(file, now)
        return Woken(tuple(granted), tuple(withdrawn))

    def abandon(self) -> tuple[Waiter, ...]:
        """Leadership is over: everybody who waits must ask the next leader."""
        return tuple(item.waiter for line in self._waiting.values() for item in line)

    def __len__(self) -> int:
        return self._count

    # inside

    def _take(self, session: bytes, file: FileId, lock: LockRange, now: float) -> LockRange | None:
        if (conflict := next(self._conflicts(session, file, lock), None)) is not None:
            return conflict
        if self._count >= LOCKS_MAX:
            raise Fault(Kind.BUSY, f"more than {LOCKS_MAX} locks")
        self._heard.setdefault(session, now)
        self._cut(session, file, lock)
        self._keep(file, [*self._held.get(file, ()), _Held(session, lock)])
        return None

    def _conflicts(self, session: bytes, file: FileId, lock: LockRange) -> Iterator[LockRange]:
        asked = _Held(session, lock)
        return (held.lock for held in self._held.get(file, ()) if _exclude(asked, held))

    def _cut(self, session: bytes, file: FileId, lock: LockRange) -> None:
        """Free the range of one owner; what sticks out on either side stays held."""
        kept: list[_Held] = []
        for held in self._held.get(file, ()):
            if not (held.same_owner(session, lock) and held.overlaps(lock)):
                kept.append(held)
                continue
            mine = held.lock
            if mine.start < lock.start:
                kept.append(_Held(session, replace(mine, end=lock.start - 1)))
            if lock.end < mine.end:
                kept.append(_Held(session, replace(mine, start=lock.end + 1)))
        self._keep(file, kept)

    def _keep(self, file: FileId, kept: list[_Held]) -> None:
        self._count += len(kept) - len(self._held.get(file, ()))
        if kept:
            self._held[file] = kept
        else:
            self._held.pop(file, None)

    def _withdraw(self, file: FileId, session: bytes, lock: LockRange | None) -> tuple[Waiter, ...]:
        """Take the waiters of a session (of one owner and range of it) out of the line."""
        gone: list[Waiter] = []
        kept: list[_Waiting] = []
        for item in self._waiting.pop(file, ()):
            asked = _Held(item.session, item.lock)
            mine = item.session == session if lock is None else asked.same_owner(session, lock)
            if mine and (lock is None or asked.overlaps(lock)):
                gone.append(item.waiter)
            else:
                kept.append(item)
        if kept:
            self._waiting[file] = kept
        return tuple(gone)

    def _wake(self, file: FileId, now: float) -> tuple[Waiter, ...]:
        """Grant in order of arrival.

        Who must wait on holds up those behind it that it conflicts with, so that a writer does not
        starve behind readers.
        """
        granted: list[Waiter] = []
        still: list[_Waiting] = []
        for item in self._waiting.pop(file, ()):
            asked = _Held(item.session, item.lock)
            blocked = any(_exclude(asked, _Held(other.session, other.lock)) for other in still)
            if blocked or self._take(item.session, file, item.lock, now) is not None:
                still.append(item)
            else:
                granted.append(item.waiter)
        if still:
            self._waiting[file] = still
        return tuple(granted)


def _exclude(one: _Held, other: _Held) -> bool:
    """Whether the two cannot be held at the same time."""
    return (
        LockKind.WRITE in (one.lock.kind, other.lock.kind)
        and one.overlaps(other.lock)
        and not one.same_owner(other.session, other.lock)
    )


def _check(lock: LockRange) -> None:
    if not 0 <= lock.start <= lock.end < 1 << 63:
        raise Fault(Kind.USAGE, f"a lock from byte {lock.start} to {lock.end}")
