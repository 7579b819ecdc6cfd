"""Actor `services` of a node: runs the actors of the tree that the leader gave to this node.

It volunteers while there is anything to run, reads from its own state what it was given, and stops
what it was not. Each runs as a `Ward`; that only one acts is held by the claim (`Registrar`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from functools import partial

from blocktree.actors import Actor, Address, Call, plays, receives
from blocktree.caps import Right
from blocktree.contract import Contract, Role, State, answers, mirror
from blocktree.fault import Fault, Kind
from blocktree.link import beat
from blocktree.names import FileId, Path, TreeId, parent
from blocktree.sectors.claims import Holding
from blocktree.services.code import load
from blocktree.services.frames import Begin
from blocktree.services.journal import Journal
from blocktree.services.run_messages import GetWards, LogLines, ReadLog, Wards, WardStatus
from blocktree.services.ward import Errand, Ward
from blocktree.services.wiring import Registration
from blocktree.store.place_messages import (
    HEARTBEAT_S,
    GetState,
    KeepState,
    KeptState,
    Volunteer,
    Volunteered,
)
from blocktree.store.service import SectorStore

log = logging.getLogger(__name__)

_LOOK_S = 0.5
_PATIENCE_S = 2.0
_KEEP_S = 10.0
JOURNALS_MAX = 64  # of actors that ran here once


HOSTING = Contract(
    "hosting",
    1,
    Role("node", State("serving", answers(GetWards, Wards), answers(ReadLog, LogLines))),
    mirror("reader"),
)


@plays(HOSTING.role("node"))
class Hosting(Actor):
    """The actors of the tree on one node.

    Args:
        store: the node's part of the sector service.
        paths: how it is registered who answers where.
        tree: the tree that is kept.
    """

    def __init__(self, store: SectorStore, paths: Registration, tree: TreeId) -> None:
        self._store = store
        self._state = store.replica.tree
        self._paths = paths
        self._tree = tree
        self._wards: dict[Path, Ward] = {}
        self._starting: set[Path] = set()
        self._journals: dict[Path, Journal] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def started(self) -> None:
        """Begin to look."""
        for work in (self._look(), self._volunteer()):
            self._tasks.add(asyncio.ensure_future(work))

    async def stopped(self) -> None:
        """Stop all that runs here."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*map(self._stop, tuple(self._wards)))

    @receives
    def wards(self, message: GetWards, call: Call) -> Wards:
        """How they are."""
        del message
        self._store.member(call)
        return Wards(
            tuple(
                WardStatus(path, ward.state, ward.pid, ward.crashes, ward.errand.epoch)
                for path, ward in sorted(self._wards.items())
            )
        )

    @receives
    def log(self, message: ReadLog, call: Call) -> LogLines:
        """What one printed."""
        principal = self._store.writer_of(self._store.member(call)).id
        sectors = self._state.sectors
        rights = sectors.rights.of(principal, sectors.place_of(parent(message.path)))
        if not rights & int(Right.READ):
            raise Fault(Kind.DENIED, "lacks the right to read there", path=message.path)
        journal = self._journals.get(message.path)
        if journal is None:
            raise Fault(Kind.NOT_FOUND, "it does not run here", path=message.path)
        return LogLines(*journal.after(message.after))

    # inside

    def _given(self) -> dict[Path, Holding]:
        """What this node is to run now."""
        session = self._paths.service.session
        return {
            path: held
            for path, held in self._state.sectors.holdings().items()
            if held.session == session
            and held.file
            and self._state.sectors.header(FileId(held.file)) is not None
        }

    async def _look(self) -> None:
        while True:
            await beat(_LOOK_S)
            if not self._wards and not self._state.sectors.actors():
                continue
            given = self._given()
            for path, ward in tuple(self._wards.items()):
                held = given.get(path)
                if held is None or held.epoch != ward.errand.epoch:
                    await self._stop(path)
            for path, held in given.items():
                if path not in self._wards and path not in self._starting:
                    self._starting.add(path)
                    self._later(self._start(path, held))

    async def _volunteer(self) -> None:
        while True:
            if self._state.sectors.actors():
                with contextlib.suppress(Fault):
                    message = Volunteer(self._paths.service.session)
                    await self._paths.service.ask(message, Volunteered, patience_s=_PATIENCE_S)
            await beat(HEARTBEAT_S)

    def _later(self, work: "Coroutine[object, object, None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, path: Path, held: Holding) -> None:
        try:
            registrar = self._paths.registrar
            await registrar.adopt(path, held.actor, held.epoch, self._lost)
            journal = self._journals.setdefault(path, Journal())
            if len(self._journals) > JOURNALS_MAX:
                del self._journals[next(iter(self._journals))]
            errand = Errand(
                path,
                held.epoch,
                partial(registrar.holds, path, held.epoch),
                partial(self._begin, path, held),
                partial(self._keep, path, held.epoch),
            )
            ward = self._wards[path] = Ward(errand, journal)
            journal.add(f"given to this node under epoch {held.epoch}")
            await self.runtime.spawn(held.actor, ward)
        except Fault as fault:
            log.info("%s is not run here yet: %s", path, fault)
            self._wards.pop(path, None)
        finally:
            self._starting.discard(path)

    def _lost(self, path: Path) -> None:
        """The claim is over: nothing of it may act from here on."""
        ward = self._wards.get(path)
        if ward is not None:
            ward.journal.add("no longer held by this node: stopped")
            ward.kill()
            self._later(self._stop(path))

    async def _stop(self, path: Path) -> None:
        ward = self._wards.pop(path, None)
        if ward is not None:
            await self.runtime.stop(ward.address.actor)
            await self._paths.registrar.withdraw(path)

    async def _begin(self, path: Path, held: Holding) -> Begin:
        running, source = await load(self._store.replica, self._tree, FileId(held.file))
        kept = await self._paths.service.ask(GetState(path), KeptState, patience_s=_KEEP_S)
        here = Address(self.runtime.here, held.actor)
        return Begin(
            here.process,
            here.actor,
            path,
            held.epoch,
            source,
            f"{path}.py",
            running.actor,
            kept.serial,
            kept.state,
        )

    async def _keep(self, path: Path, epoch: int, serial: int, state: bytes) -> None:
        message = KeepState(path, epoch, serial, state)
        await self._paths.service.ask(message, KeptState, patience_s=_KEEP_S)
