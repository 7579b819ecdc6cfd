"""The leader has the actors of the tree run: each on one live node, on another when that died.

What is to run is in the state (`sectors/running.py`), and so is who runs it: a claim. The steward
compares the two once a second. Nodes read from their own state what they were given; that only one
acts is not the steward's merit but that of claims and leases (`registry`).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from blocktree.fault import Fault, Kind
from blocktree.names import FileId, Path, leaf, short
from blocktree.sectors.claims import Claim, Holding, Release
from blocktree.sectors.running import Running, read_running
from blocktree.sectors.state import SectorState
from blocktree.sectors.transaction import Outcome
from blocktree.store.commits import Commits
from blocktree.store.leadership import Leadership
from blocktree.store.place_messages import Run, RunList
from blocktree.store.reads import confirm
from blocktree.store.registry import Registry
from blocktree.store.replica import Replica

log = logging.getLogger(__name__)

_WAITING = (Kind.CONFLICT, Kind.BUSY)  # until a lease has surely ended, or an entry is applied


class Steward:
    """Gives the actors of the tree to nodes, while this node leads."""

    def __init__(
        self, replica: Replica, commits: Commits, leading: Callable[[], Leadership]
    ) -> None:
        self._replica = replica
        self._commits = commits
        self._leading = leading

    async def look_after(self) -> None:
        """Look once whether everything runs that is to run, and nothing else.

        Raises:
            Fault: NOT_LEADER, NO_QUORUM.
        """
        state = self._replica.tree.sectors
        if not self._replica.driver.leads:
            return
        wanted, held = state.actors(), _held(state)
        if not wanted and not held:
            return
        leadership = self._leading()
        await confirm(self._replica.driver)
        if self._leading() is not leadership:
            return
        load = Counter(holding.process for holding in held.values())
        for file in wanted:
            await self._run(leadership.registry, file, load)
        for path, holding in held.items():
            if _wanted_at(state, FileId(holding.file)) != path:
                await self._release(leadership.registry, path, holding)

    async def _run(self, registry: Registry, file: FileId, load: Counter[Path]) -> None:
        state, now = self._replica.tree.sectors, self._replica.host.clock()
        running = _read(state, file)
        if running is None:
            return
        held = state.holding(running.path)
        command = claim_for(running, file, held, registry, load, now)
        if command is not None and await self._change(registry, command, same=held is None):
            load[command.process] += 1
            log.info("%s runs on %s", running.path, command.process)

    async def _release(self, registry: Registry, path: Path, holding: Holding) -> None:
        if not registry.alive(path, self._replica.host.clock()):
            await self._change(registry, Release(path, holding.epoch), same=False)

    async def _change(self, registry: Registry, command: Claim | Release, *, same: bool) -> bool:
        path, clock = command.path, self._replica.host.clock
        try:
            registry.begin(path, clock(), same=same)
        except Fault as fault:
            if fault.kind in _WAITING:
                return False
            raise
        fault_of = (await propose_change(registry, self._commits, command, clock)).fault()
        if fault_of is not None:
            log.warning("%s is not run: %s", path, fault_of)
        return fault_of is None


def propose_change(
    registry: Registry, commits: Commits, command: Claim | Release, clock: Callable[[], float]
) -> "asyncio.Future[Outcome]":
    """Propose another holder of a path, or none, once the registry was told that it begins.

    `Registry.decided` is told when it is applied, or here if it is not even proposed.
    """
    try:
        return commits.propose(command)
    except BaseException:
        registry.decided(command.path, clock())
        raise


def claim_for(  # noqa: PLR0917 - all that the choice depends on
    running: Running,
    file: FileId,
    held: Holding | None,
    registry: Registry,
    load: Counter[Path],
    now: float,
) -> Claim | None:
    """Who is to run a service now; None if it runs, or if there is nobody to run it."""
    if held is not None and registry.alive(running.path, now):
        return None
    chosen = registry.choose(running.on, load, now, only=running.only)
    if chosen is None:
        return None
    process, session, principal = chosen
    name, epoch = actor_name(running.path, file), held.epoch if held is not None else 0
    return Claim(running.path, principal, process, name, session, epoch, 0, file)


def actor_name(path: Path, file: FileId) -> str:
    """What an actor of the tree is called in the process that runs it."""
    return f"{leaf(path)}-{short(file)}"


def run_list(state: SectorState, registry: Registry, now: float) -> RunList:
    """Which actors are to run, and where they do."""
    runs, faults = [], []
    for file in state.actors():
        signed = state.header(file)
        try:
            if signed is None:
                continue
            wanted = read_running(signed)
        except Fault as fault:
            faults.append(str(fault))
            continue
        held = state.holding(wanted.path)
        run = Run(wanted.path, wanted.actor, wanted.on)
        if held is not None and held.file == file and registry.alive(wanted.path, now):
            run = Run(wanted.path, wanted.actor, wanted.on, held.process, held.epoch)
        runs.append(run)
    return RunList(tuple(sorted(runs, key=lambda run: run.path)), tuple(faults))


def is_to_run(state: SectorState, path: Path) -> bool:
    """Whether an actor is to run at this path."""
    wanted = (_read(state, file) for file in state.actors())
    return any(one is not None and one.path == path for one in wanted)


def _held(state: SectorState) -> dict[Path, Holding]:
    return {path: held for path, held in state.holdings().items() if held.file}


def _read(state: SectorState, file: FileId) -> Running | None:
    signed = state.header(file)
    try:
        return None if signed is None else read_running(signed)
    except Fault:
        return None


def _wanted_at(state: SectorState, file: FileId) -> Path | None:
    running = _read(state, file)
    return None if running is None else running.path
