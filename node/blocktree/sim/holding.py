"""Sole holders in a split network: the real core, claims and registry, and holders with clocks.

Three members keep a group; each runs what it was given, a counter, and acts while its lease lasts
on its own clock, which drifts. What must hold, whoever is cut off from whom:

- whoever acts under an epoch does so after all acts under earlier ones, and before all later ones;
- what a client was answered is counted, nothing is counted twice, and the counter is served again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import cbor2

from blocktree.fault import Fault
from blocktree.keys import Identity
from blocktree.names import Digest, FileId, Path, PrincipalId
from blocktree.raft import Entry, EntryKind, Raft, Role
from blocktree.sectors import claims
from blocktree.sectors.claims import Claim, Holding, Keep, Kept
from blocktree.sectors.rights import Rights
from blocktree.sectors.running import Running
from blocktree.sectors.table import MemoryTable
from blocktree.sim.process import REFUSED, Process
from blocktree.sim.world import SECOND
from blocktree.store.registry import Registry
from blocktree.store.steward import claim_for
from blocktree.wire import Record, decode, encode

TREE = "bt1sim"
COUNTER = Path(f"/{TREE}/counter")
_FILE = FileId(b"\1" * 16)
_RUNNING = Running(COUNTER, _FILE, Digest(bytes(32)), "Counter")
_EVERYTHING = 15
DONE = "done"

Answer = Callable[[Any], None]  # None: refused


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way: "volunteer", "renew" or "keep" to a leader, "add" to a holder."""

    number: int
    what: str
    content: Any = None


@dataclass(frozen=True, slots=True)
class Told:
    """Its answer; None is a refusal."""

    number: int
    content: Any


class _Anybody(Rights):
    """Rights are not what is tried here."""

    def __init__(self) -> None:
        super().__init__(lambda _: None, lambda _: cast("Identity", None))

    def of(self, principal: PrincipalId, directory: FileId) -> int:
        """Everything."""
        del principal, directory
        return _EVERYTHING


class Keeper(Process):
    """A member whose machine is the table of claims, and what it does while it leads."""

    counts_from_start = True  # a new leader waits for leases that it does not know; else a bug

    def begin(self, rate: float) -> None:
        """Count time at this rate."""
        self.table = MemoryTable()
        self.rate = rate
        self.registry: Registry | None = None
        self._led = 0
        self._rights = _Anybody()
        self._proposed: dict[int, tuple[int, Answer]] = {}
        self.at_told: Callable[[str, Told], None] = lambda _sender, _told: None
        self.at_asked: Callable[[str, Asked], None] = lambda _sender, _asked: None

    def clock(self) -> float:
        """Seconds, as this member counts them."""
        return self._world.now / SECOND * self.rate

    def holding(self) -> Holding | None:
        """Who holds the counter, as far as this member has applied."""
        return claims.holding(self.table, COUNTER)

    def kept(self) -> Kept:
        """What is kept, as far as this member has applied."""
        return claims.kept(self.table, COUNTER)

    def receive(self, sender: str, message: Any) -> None:
        """Take a message of the group, or one of those above."""
        if isinstance(message, Told):
            self.at_told(sender, message)
        elif isinstance(message, Asked):
            if message.what == "add":
                self.at_asked(sender, message)
            else:
                self._serve(message, lambda told: self._say(sender, message, told))
        else:
            super().receive(sender, message)

    def look_after(self) -> None:
        """What the steward does once in a while."""
        registry = self.registry
        if registry is None:
            return
        self._confirm(lambda sure: self._give(registry) if sure else None)

    # inside

    def _give(self, registry: Registry) -> None:
        if registry is not self.registry:
            return
        held, now = self.holding(), self.clock()
        load: Counter[Path] = Counter()
        command = claim_for(_RUNNING, _FILE, held, registry, load, now)
        if command is None:
            return
        try:
            registry.begin(COUNTER, now, same=held is None)
        except Fault:
            return
        if not self._propose(replace(command, file=b""), lambda _: None):
            registry.decided(COUNTER, self.clock())

    def _serve(self, asked: Asked, answer: Answer) -> None:
        registry = self.registry
        if registry is None:
            answer(None)
            return

        def go_on(sure: object) -> None:
            if not sure or registry is not self.registry:
                answer(None)
            elif asked.what == "volunteer":
                process, session = asked.content
                principal = PrincipalId(session * 2)
                registry.volunteer(process, session, principal, self.clock())
                answer(DONE)
            elif asked.what == "renew":
                session, epoch = asked.content
                self._renew(registry, session, epoch, answer)
            elif not self._propose(asked.content, answer):
                answer(None)

        self._confirm(go_on)

    def _renew(self, registry: Registry, session: bytes, epoch: int, answer: Answer) -> None:
        held = self.holding()
        ours = held is not None and (held.session, held.epoch) == (session, epoch)
        answer(self.kept() if ours and registry.extend(COUNTER, self.clock()) else None)

    def _confirm(self, then: Callable[[object], None]) -> None:
        self.get("", lambda value: then(value != REFUSED), lease=True)

    def _propose(self, command: Claim | Keep, answer: Answer) -> bool:
        if self.raft is None:
            return False
        try:
            index = self.raft.propose(encode(command))
        except Fault:
            return False
        self._proposed[index] = (self.raft.term, answer)
        self._pump()
        return True

    def _say(self, to: str, asked: Asked, content: Any) -> None:
        self._network.send(self.name, to, Told(asked.number, content))

    def _watch(self, raft: Raft) -> None:
        super()._watch(raft)
        if raft.role is not Role.LEADER:
            self.registry = None
        elif self.registry is None or self._led != raft.term:
            self._led = raft.term
            self.registry = Registry(self.clock() if self.counts_from_start else -1e9)

    def _apply(self, entry: Entry) -> None:
        assert entry.index == self.applied + 1, (entry.index, self.applied)
        self.applied = entry.index
        if entry.kind is not EntryKind.NORMAL or not entry.payload:
            return
        command = decode(entry.payload, Record)
        done: object = DONE
        try:
            if isinstance(command, Claim):
                claims.claim(self.table, entry.index, self._rights, command, TREE)
            elif isinstance(command, Keep):
                claims.keep(self.table, command)
        except Fault:
            done = None
        term, answer = self._proposed.pop(entry.index, (0, None))
        if isinstance(command, Claim) and self.registry is not None:
            self.registry.decided(COUNTER, self.clock())
        if answer is not None:
            answer(done if term == entry.term else None)

    def _checkpoint(self, raft: Raft) -> None:
        """Nobody restarts here, so the log is kept whole."""


def counted(kept: Kept) -> Sequence[int]:
    """The requests that the counter has counted."""
    return cbor2.loads(kept.state) if kept.state else []
