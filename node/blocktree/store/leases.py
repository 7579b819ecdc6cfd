"""Header leases: what the leader promised to call back before a header changes.

A pure machine: times are arguments, in seconds of a clock that counts time asleep.

Invariants
- A lease is valid until its session's `until`, and `until` is never later than the core allows
  (`Raft.lease_ticks`): the start of the last round of heartbeats that a quorum answered, plus the
  minimum election timeout, less a margin.
- A file with a change in flight (`begin` … `end`) gets no new lease.
- A file that is leased exclusively is leased to one session.
- A file that somebody waits for exclusively (`claim`) gets no new lease of the common kind, so that
  those who ask for it again and again cannot keep it from him.
- A session that let its leases run out starts anew: its older grants are void (`since`).
- A session that did not answer a recall is not extended (`stall`) until its leases have run out.

Why a new leader need not wait for the leases of the old one. Let the old leader's last answered
round have started at T. A quorum heard from it at or after T, and a voter that heard from a leader
refuses (pre-)votes for the minimum election timeout E after it did (also right after its own
restart). Two quorums share a voter, so nobody is elected before T + E, and no lease outlives
T + E. Clock rates may differ by a tenth: the bound keeps that margin. Leadership that is handed
over breaks the premise (its votes skip the refusal), so the core grants no more and waits until all
that was granted has ended before it orders the election (`Raft.transfer`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from blocktree.link import Link
from blocktree.names import FileId, Path

SESSIONS_MAX = 4096
FILES_MAX = 1 << 16  # leased to one session
_TERM_SHIFT = 40  # grants count up within a term and never repeat across terms


@dataclass(slots=True)
class _Session:
    process: Path
    via: Link | None  # several processes may run under one path
    since: int
    until: float = 0.0
    stalled: int = 0
    files: dict[FileId, int] = field(default_factory=dict)  # to the grant


@dataclass(frozen=True, slots=True)
class Granted:
    """What a session is told: its grant number, its oldest valid one, and until when."""

    grant: int
    since: int
    until: float


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Leases of one session that stand in the way of a change."""

    session: bytes
    process: Path
    via: Link | None
    files: tuple[FileId, ...]
    grant: int


class Leases:
    """Who may still use which header without asking."""

    def __init__(self, term: int) -> None:
        self._grant = term << _TERM_SHIFT
        self._sessions: dict[bytes, _Session] = {}
        self._of_file: dict[FileId, set[bytes]] = {}
        self._changing: dict[FileId, int] = {}
        self._exclusive: dict[FileId, bytes] = {}  # to the one session that has it
        self._claims: Counter[FileId] = Counter()  # how many wait for it exclusively

    @property
    def grant(self) -> int:
        """The newest grant number given out."""
        return self._grant

    @property
    def sessions(self) -> int:
        """How many sessions are known."""
        return len(self._sessions)

    @property
    def any_exclusive(self) -> bool:
        """Whether any file is leased exclusively."""
        return bool(self._exclusive)

    def extend(
        self, session: bytes, process: Path, via: Link | None, now: float, until: float
    ) -> Granted | None:
        """Let all valid leases of a session hold until `until`; None: too many sessions."""
        known = self._sessions.get(session)
        if known is None:
            if len(self._sessions) >= SESSIONS_MAX:
                self.expire(now)
                if len(self._sessions) >= SESSIONS_MAX:
                    return None
            self._grant += 1
            known = self._sessions[session] = _Session(process, via, self._grant)
        elif known.until < now:
            self._void(session, known)
        known.via = via
        if not known.stalled:
            known.until = max(known.until, until)
        return Granted(self._grant, known.since, known.until)

    def lease(
        self, session: bytes, files: Iterable[FileId], exclusive: Iterable[FileId] = ()
    ) -> bool:
        """Lease files to a session that was just extended; False: none of them (ask again).

        What stands in the way (`outstanding`) was called back before, in the same step.
        """
        common, alone = list(files), list(exclusive)
        known = self._sessions[session]
        free = not any(file in self._changing for file in (*common, *alone))
        free = free and not any(file in self._claims for file in common)
        if not free or len(known.files) + len(common) + len(alone) > FILES_MAX:
            return False
        for file in alone:
            self._exclusive[file] = session
        for file in (*common, *alone):
            known.files[file] = self._grant
            self._of_file.setdefault(file, set()).add(session)
            assert self._exclusive.get(file, session) == session
        return True

    @contextmanager
    def claim(self, files: Iterable[FileId]) -> Iterator[None]:
        """Inside, these files are leased to nobody but exclusively."""
        wanted = list(files)
        self._claims.update(wanted)
        try:
            yield
        finally:
            self._claims.subtract(wanted)
            self._claims += Counter()  # forgets those that count nothing

    def begin(self, files: Iterable[FileId]) -> None:
        """A change of these files is on its way: lease them to nobody until `end`."""
        for file in files:
            self._changing[file] = self._changing.get(file, 0) + 1

    def end(self, files: Iterable[FileId]) -> None:
        """The change of these files is applied, or will never be."""
        for file in files:
            count = self._changing[file] - 1
            if count:
                self._changing[file] = count
            else:
                del self._changing[file]

    def outstanding(
        self, files: Iterable[FileId], but: bytes, now: float, *, exclusive: bool = False
    ) -> tuple[Outstanding, ...]:
        """The valid leases on these files by session, without those of session `but`.

        With `exclusive` only the exclusive ones: those that stand in the way of a reader. Leases
        that have run out are dropped on the way.
        """
        found: dict[bytes, list[FileId]] = {}
        for file in files:
            for session in tuple(self._of_file.get(file, ())):
                if session == but or (exclusive and self._exclusive.get(file) != session):
                    continue
                if self._sessions[session].until < now:
                    self.returned(session, (file,), self._grant)
                    continue
                found.setdefault(session, []).append(file)
        grant = self._grant
        if found:  # grants from now on are told apart from those that are called back
            self._grant += 1
        return tuple(
            Outstanding(session, known.process, known.via, tuple(held), grant)
            for session, held in found.items()
            for known in [self._sessions[session]]
        )

    def returned(self, session: bytes, files: Iterable[FileId], grant: int) -> None:
        """The session no longer uses these headers under a grant up to this one."""
        known = self._sessions.get(session)
        for file in files:
            if known is None or known.files.get(file, 0) <= grant:
                if known is not None:
                    known.files.pop(file, None)
                self._unlink(file, session)

    def stall(self, session: bytes) -> float:
        """Do not extend this session until `unstall`; when its leases will have run out."""
        known = self._sessions.get(session)
        if known is None:
            return 0.0
        known.stalled += 1
        return known.until

    def unstall(self, session: bytes) -> None:
        """Its leases have run out."""
        known = self._sessions.get(session)
        if known is not None and known.stalled:
            known.stalled -= 1

    def leave(self, session: bytes) -> None:
        """The session uses nothing any more."""
        known = self._sessions.pop(session, None)
        if known is not None:
            self._void(session, known)

    def expire(self, now: float) -> None:
        """Forget the sessions whose leases have all run out."""
        for session, known in list(self._sessions.items()):
            if known.until < now and not known.stalled:
                self._void(session, known)
                del self._sessions[session]

    def counts(self) -> Mapping[str, int]:
        """How much is held, for status and tests."""
        return {"sessions": len(self._sessions), "files": len(self._of_file)}

    def _void(self, session: bytes, known: _Session) -> None:
        for file in known.files:
            self._unlink(file, session)
        known.files.clear()
        self._grant += 1
        known.since = self._grant

    def _unlink(self, file: FileId, session: bytes) -> None:
        if self._exclusive.get(file) == session:
            del self._exclusive[file]
        sessions = self._of_file.get(file)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self._of_file[file]
