"""Which devices this gateway speaks for: each held alone in the tree, under an epoch.

Every device that belongs is held by some gateway, also while it is away, so that commands to it
have somewhere to wait. A gateway that hears a device which another holds asks it to yield; it does,
unless the device is in session there. When a gateway dies its leases end, and those that remain
take its devices within seconds, and call them: a device alone would take half a minute to notice.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from blocktree.actors import Runtime
from blocktree.fault import Fault, Kind
from blocktree.keys import Key, Principal
from blocktree.names import Path, TreeId
from blocktree.wire import Record
from blocktree_gateway.deviceactor import DeviceActor, Surroundings
from blocktree_gateway.devicemessages import Perform, Yield, Yielded
from blocktree_gateway.keeping import COMMIT_S, Keeper
from blocktree_gateway.messages import Rename
from blocktree_gateway.publishing import PUBLISH_S, Publisher
from blocktree_gateway.roll import Known, Roll
from blocktree_gateway.stream.entries import Reader
from blocktree_gateway.tree.devices import Devices
from blocktree_gateway.tree.records import give_on
from blocktree_gateway.tree.streamfile import StreamFile

log = logging.getLogger(__name__)

ELSEWHERE_S = 5.0  # another gateway is believed to speak for a device
_YIELD_S = 5.0
_HOLD_S = 4.0  # while the other's registration goes away
_AT_ONCE = 8  # claims under way
_BYE_S = 1.0


class Ask(Protocol):
    """Asks whoever answers at a path: `Runtime.ask`."""

    async def __call__(self, to: Path, message: Record, /, *, timeout: float) -> Record:
        """The answer."""


class Claims(Protocol):
    """Holds paths alone: `services.Registrar` is one."""

    async def hold(
        self,
        path: Path,
        actor: str,
        lost: Callable[[Path], None] | None = None,
        *,
        wait_s: float = 0.0,
    ) -> int:
        """Be the only one that answers at a path; CONFLICT if another does."""

    def holds(self, path: Path, epoch: int) -> bool:
        """Whether nobody else can hold the path that was given under that epoch, at this moment."""

    async def withdraw(self, path: Path) -> None:
        """Answer there no more."""


class Speaking:
    """The devices of one gateway.

    Args:
        tree: of which all this is.
        runtime: runs the actors.
        claims: holds their paths.
        devices: their records.
        roll: what is known of them.
        reader_key: of the user that the gateway runs for: opens reading secrets, to publish.
        ask: asks the gateway that holds a device.
        around: what actors need of the gateway.
        call: asks a device on the network to come here, if it can be reached that way.
    """

    def __init__(
        self,
        *,
        tree: TreeId,
        runtime: Runtime,
        claims: Claims,
        devices: Devices,
        roll: Roll,
        reader_key: Key,
        ask: Ask,
        around: Surroundings,
        call: Callable[[Known], None] = lambda _: None,
        commit_s: float = COMMIT_S,
        publish_s: float = PUBLISH_S,
    ) -> None:
        self._tree = tree
        self._runtime = runtime
        self._claims = claims
        self._devices = devices
        self._roll = roll
        self._reader_key = reader_key
        self._ask = ask
        self._around = replace(around, rekeyed=self._rekeyed, yielded=self._yielded)
        self._call = call
        self._commit_s = commit_s
        self._publish_s = publish_s
        self._loop = asyncio.get_running_loop()
        self.held: dict[bytes, DeviceActor] = {}
        self._paths: dict[bytes, Path] = {}
        self._epochs: dict[bytes, int] = {}
        self._claiming: dict[bytes, asyncio.Task[None]] = {}
        self._elsewhere: dict[bytes, float] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def listener(self, known: Known) -> DeviceActor | None:
        """Who answers for a device that was heard; begins to claim it if nobody here does yet."""
        actor = self.held.get(known.id)
        if actor is not None:
            actor.called_at = self._loop.time()
            return actor
        if known.belongs and not self.elsewhere(known):
            self.claim(known, heard=True)
        return None

    def elsewhere(self, known: Known) -> bool:
        """Whether another gateway was found to speak for it a moment ago."""
        return self._elsewhere.get(known.id, 0.0) > self._loop.time()

    def claim(self, known: Known, *, heard: bool = False) -> None:
        """Begin to hold a device, in the background."""
        if known.id not in self._claiming and known.id not in self.held:
            task = self._loop.create_task(self._claim(known, heard=heard))
            self._claiming[known.id] = task
            task.add_done_callback(lambda _: self._claiming.pop(known.id, None))

    def survey(self, answered: Iterable[Path]) -> None:
        """Claim what nobody speaks for, given the paths at which anybody answers."""
        taken = set(answered)
        for known in self._roll.by_id.values():
            if known.belongs and self.path(known) not in taken and not self.elsewhere(known):
                self.claim(known)

    def changed(self, ids: Iterable[bytes]) -> None:
        """The tree says something new of these devices."""
        for device in ids:
            actor, known = self.held.get(device), self._roll.by_id.get(device)
            if actor is None:
                continue
            if known is None:
                self._begin(self.leave(device))
                continue
            moved = self.path(known) != self._paths[device]
            actor.changed(known)
            reader = self._reader(known)
            if actor.publisher is not None and reader is not None:
                actor.publisher.reader = reader
            if not known.belongs:
                self._begin(self._part(device))
            elif moved:
                self._begin(self._move(actor, known))

    async def give_on(self, gateways: Sequence[Principal]) -> None:
        """See that gateways which came later have the secrets of the devices held here.

        Raises:
            Fault: if a record cannot be written.
        """
        for device in list(self.held):
            known = self._roll.by_id.get(device)
            if known is None:
                continue
            record = known.device.record
            for principal in gateways:
                record = give_on(record, known.secrets, principal)
            if record != known.device.record:
                await self._devices.save(replace(known.device, record=record))

    def may(self, device: bytes) -> bool:
        """Whether this gateway alone may write what the device says, at this moment."""
        path, epoch = self._paths.get(device), self._epochs.get(device)
        return path is not None and epoch is not None and self._claims.holds(path, epoch)

    async def leave(self, device: bytes) -> None:
        """Speak for a device no more; what it said is committed before another may."""
        actor = self.held.pop(device, None)
        if actor is None:
            return
        if not self.may(device):  # another may: what waits is his business, from the device
            for each in (actor.keeper, actor.publisher):
                if each is not None:
                    each.abandon()
        await actor.stopped()
        path = self._paths.pop(device)
        del self._epochs[device]
        await self._claims.withdraw(path)
        await self._runtime.stop(_actor_name(device))

    async def close(self) -> None:
        """Commit what waits, and let go of everything."""
        for task in (*self._claiming.values(), *self._tasks):
            task.cancel()
        await asyncio.gather(*map(self.leave, list(self.held)), return_exceptions=True)

    def path(self, known: Known) -> Path:
        """Where a device is in the tree."""
        names = [name.decode() for name in known.device.place]
        return Path("/" + "/".join([self._tree, *names]))

    # inside

    async def _claim(self, known: Known, *, heard: bool) -> None:
        async with self._room:
            try:
                await self._hold(known, heard=heard)
            except Fault as fault:
                if fault.kind in {Kind.CONFLICT, Kind.BUSY}:
                    self._elsewhere[known.id] = self._loop.time() + ELSEWHERE_S
                log.info("%s is not spoken for here: %s", self.path(known), fault)
            except Exception:
                log.exception("claiming %s", self.path(known))

    async def _hold(self, known: Known, *, heard: bool) -> None:
        path, name = self.path(known), _actor_name(known.id)
        actor = DeviceActor(known, self._around)
        if heard:
            actor.called_at = self._loop.time()
        await self._runtime.spawn(name, actor)
        try:
            epoch = await self._take(path, name, actor, known, heard=heard)
            self._paths[known.id], self._epochs[known.id] = path, epoch
            stream = StreamFile(self._devices.files, known.device.place)
            await stream.load()
            actor.publisher = await self._publisher(known, stream)
            actor.keeper = Keeper(
                stream,
                actor.kept,
                actor.damaged,
                actor.committed,
                commit_s=self._commit_s,
                may=partial(self.may, known.id),
            )
            self._require(known.id)
        except BaseException:
            self._paths.pop(known.id, None)
            self._epochs.pop(known.id, None)
            await self._claims.withdraw(path)
            await self._runtime.stop(name)
            raise
        self.held[known.id] = actor
        if heard:
            actor.called_at = self._loop.time()
        else:  # it may still believe in a gateway that is gone
            self._call(known)

    def _require(self, device: bytes) -> None:
        if not self.may(device):
            raise Fault(Kind.CONFLICT, "the claim was lost while it was taken up")

    async def _take(
        self, path: Path, name: str, actor: DeviceActor, known: Known, *, heard: bool
    ) -> int:
        try:
            return await self._claims.hold(path, name, self._lost)
        except Fault as fault:
            if fault.kind is not Kind.CONFLICT or not heard:
                raise
        commands: tuple[Perform, ...] = ()
        try:
            given = await self._ask(path, Yield(known.id), timeout=_YIELD_S)
            commands = given.commands if isinstance(given, Yielded) else ()
        except Fault as cause:
            if cause.kind is not Kind.UNREACHABLE:
                raise
        epoch = await self._claims.hold(path, name, self._lost, wait_s=_HOLD_S)
        actor.commands.take_over(commands)
        return epoch

    async def _publisher(self, known: Known, stream: StreamFile) -> Publisher | None:
        reader = self._reader(known)
        if reader is None:
            return None
        may = partial(self.may, known.id)
        files, place = self._devices.files, known.device.place
        publisher = Publisher(files, place, reader, self._publish_s, may)
        await publisher.catch_up(stream)
        return publisher

    def _reader(self, known: Known) -> Reader | None:
        """Opens the readings, if the user that the gateway runs for may."""
        record = known.device.record
        secrets = record.reading_secrets(self._reader_key)
        return Reader(record.device, secrets, record.principal) if secrets else None

    def _lost(self, path: Path) -> None:
        for device, held in list(self._paths.items()):
            if held == path:
                log.warning("another gateway may speak for %s now", path)
                self._begin(self.leave(device))

    async def _move(self, actor: DeviceActor, known: Known) -> None:
        old, new = self._paths[known.id], self.path(known)
        epoch = await self._claims.hold(new, _actor_name(known.id), self._lost)
        self._paths[known.id], self._epochs[known.id] = new, epoch
        place = known.device.place
        if actor.keeper is not None:
            actor.keeper.stream.move(place)
        if actor.publisher is not None:
            actor.publisher.place = place
        await self._claims.withdraw(old)
        if actor.conversation is not None:
            actor.conversation.post(Rename(new))

    async def _part(self, device: bytes) -> None:
        """Leave a device that was revoked, when it has heard why."""
        await asyncio.sleep(_BYE_S)
        await self.leave(device)

    def _yielded(self, device: bytes) -> None:
        self._elsewhere[device] = self._loop.time() + ELSEWHERE_S
        self._begin(self.leave(device))

    def _rekeyed(self, device: bytes, epoch: int) -> None:
        known = self._roll.by_id.get(device)
        if known is None:
            return
        pending = known.device.record.pending
        if pending is not None and pending.epoch == epoch:
            record = known.device.record.rotated()
            self._begin(self._devices.save(replace(known.device, record=record)))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Fault as fault:
            log.warning("%s", fault)


def survey_pause() -> float:
    """Seconds until the next survey: different at each gateway, so that they seldom collide."""
    return random.uniform(2.0, 4.0)  # noqa: S311 - spread, not secret


def _actor_name(device: bytes) -> str:
    return f"device-{device[:8].hex()}"
