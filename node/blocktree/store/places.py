"""Actor `places`: registers who answers at a path, and says who does. The leader decides.

Faults, before the happy path
- who does not belong, or lacks WRITE there: DENIED; a path that is none: MALFORMED;
- not the leader: NOT_LEADER; a leader that cannot make sure that it is the only one: NO_QUORUM;
- a claim whose holder may still act: CONFLICT, for as long as that can be;
- a claim whose fate is open: BUSY, until its entry is applied here.
"""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from blocktree.actors import Actor, Call, plays, receives
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, MemberKind
from blocktree.names import FileId, Path, PrincipalId, components, is_within, join, parent
from blocktree.sectors.claims import SESSION_BYTES, Claim, Holding, Keep, Release, fenced
from blocktree.sectors.places import Publish, check_place, need_write
from blocktree.sectors.transaction import Command, Outcome
from blocktree.store.contracts import PLACES
from blocktree.store.leadership import Leadership
from blocktree.store.place_messages import (
    LEASE_S,
    LISTED_MAX,
    OFFER_S,
    STAYS_MAX,
    AccessAt,
    Forget,
    Forgotten,
    GetAccess,
    GetState,
    KeepState,
    KeptState,
    ListProviders,
    ListRunning,
    Provider,
    Providers,
    Published,
    PublishPlace,
    Register,
    Registered,
    Renew,
    Renewed,
    Resolve,
    RunList,
    Volunteer,
    Volunteered,
    Withdraw,
    Withdrawn,
)
from blocktree.store.reads import confirm
from blocktree.store.registry import Registry, nearest
from blocktree.store.steward import is_to_run, propose_change, run_list
from blocktree.wire import encode

if TYPE_CHECKING:
    from blocktree.store.service import SectorStore

_T = TypeVar("_T")
_OFFERED = Registered(int(OFFER_S * 1000))
LEASED_MS = int(LEASE_S * 1000)


def _later(answer: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
    return asyncio.ensure_future(answer)


@plays(PLACES.role("node"))
class PlacesActor(Actor):
    """The door for all that answers at paths."""

    def __init__(self, service: "SectorStore") -> None:
        self._service = service
        self._replica = service.replica
        self._clock = service.replica.host.clock

    @receives
    def register(self, message: Register, call: Call) -> "asyncio.Task[Registered]":
        """Answer at a path from now on."""
        principal = self._writer(call)
        return _later(self._register(message, call.sender.process, principal))

    @receives
    def renew(self, message: Renew, call: Call) -> "asyncio.Task[Renewed]":
        """Go on with all that was registered."""
        principal = self._writer(call)
        return _later(self._renew(message, call.sender.process, principal))

    @receives
    def withdraw(self, message: Withdraw, call: Call) -> "asyncio.Task[Withdrawn]":
        """Answer there no more."""
        self._writer(call)
        return _later(self._withdraw(message))

    @receives
    def resolve(self, message: Resolve, call: Call) -> "asyncio.Task[Providers]":
        """Who answers there."""
        self._service.member(call)
        return _later(self._resolve(message, call.sender.process))

    @receives
    def list_providers(self, message: ListProviders, call: Call) -> "asyncio.Task[Providers]":
        """Who answers anywhere below."""
        self._service.member(call)
        return _later(self._list(message))

    @receives
    def publish(self, message: PublishPlace, call: Call) -> "asyncio.Task[Published]":
        """Name a directory in public."""
        return _later(self._publish(message, self._writer(call)))

    @receives
    def access(self, message: GetAccess, call: Call) -> AccessAt:
        """The accesses that govern a path."""
        self._service.member(call)
        sectors = self._replica.tree.sectors
        found = sectors.rights.accesses(sectors.place_of(parent(message.path)))
        header = self._runs(message.process, message.actor) if message.actor else b""
        return AccessAt(tuple(encode(access) for access in found), header)

    @receives
    def keep(self, message: KeepState, call: Call) -> "asyncio.Task[KeptState]":
        """Keep a small state."""
        return _later(self._keep(message, self._writer(call)))

    @receives
    def kept(self, message: GetState, call: Call) -> "asyncio.Task[KeptState]":
        """Read it again."""
        return _later(self._kept(message, self._writer(call)))

    @receives
    def volunteer(self, message: Volunteer, call: Call) -> "asyncio.Task[Volunteered]":
        """Run actors."""
        identity = self._service.member(call)
        beside = parent(identity.path) == parent(self._replica.runtime.here)
        if identity.kind is not MemberKind.NODE or not beside:
            raise Fault(Kind.DENIED, "only nodes of this directory run its actors")
        return _later(self._volunteer(message, identity))

    @receives
    def list_running(self, message: ListRunning, call: Call) -> "asyncio.Task[RunList]":
        """Which actors are to run."""
        del message
        self._service.member(call)
        return _later(self._list_running())

    @receives
    def forget(self, message: Forget, call: Call) -> "asyncio.Task[Forgotten]":
        """Drop a kept state."""
        return _later(self._forget(message, self._writer(call)))

    # inside

    def _runs(self, process: str, actor: str) -> bytes:
        """The file on whose behalf an actor is run; b"" if it is for itself."""
        sectors = self._replica.tree.sectors
        for held in sectors.holdings().values():
            if held.file and (held.process, held.actor) == (process, actor):
                signed = sectors.header(FileId(held.file))
                if signed is not None and self._replica.tree.roster.belonging(signed.header.writer):
                    return signed.encoded
        return b""

    async def _forget(self, message: Forget, principal: PrincipalId) -> Forgotten:
        leadership = await self._confirmed()
        path = self._check(message.path, principal)
        if is_to_run(self._replica.tree.sectors, path):
            raise Fault(Kind.CONFLICT, "an actor is to run there", path=path)
        held = self._replica.tree.sectors.holding(path)
        if held is not None and leadership.registry.alive(path, self._clock()):
            raise Fault(Kind.BUSY, "its holder has not stopped yet", path=path)
        command = Release(path, held.epoch if held else 0, forget=True)
        outcome = await self._change(leadership.registry, command, same=held is None)
        if (fault := outcome.fault()) is not None:
            raise fault
        return Forgotten()

    async def _volunteer(self, message: Volunteer, identity: Identity) -> Volunteered:
        leadership = await self._confirmed()
        now = self._clock()
        leadership.registry.volunteer(identity.path, message.session, identity.principal, now)
        return Volunteered()

    async def _list_running(self) -> RunList:
        leadership = await self._confirmed()
        return run_list(self._replica.tree.sectors, leadership.registry, self._clock())

    def _writer(self, call: Call) -> PrincipalId:
        return self._service.writer_of(self._service.member(call)).id

    async def _confirmed(self) -> Leadership:
        """The leadership, when it is sure to be the only one and its state the newest."""
        leadership = self._service.leading()
        await confirm(self._replica.driver)
        if self._service.leading() is not leadership:
            raise Fault(Kind.BUSY, "leadership has just moved")
        return leadership

    async def _propose(self, command: Command) -> int:
        outcome = await self._service.commits.propose(command)
        if (fault := outcome.fault()) is not None:
            raise fault
        return outcome.index

    def _check(self, path: Path, principal: PrincipalId) -> Path:
        tree, sectors = self._replica.tree, self._replica.tree.sectors
        place = check_place(path, components(self._replica.runtime.here)[0])
        need_write(tree.overlay, sectors.rights, principal, place)
        return place

    async def _register(
        self, message: Register, process: Path, principal: PrincipalId
    ) -> Registered:
        if len(message.session) != SESSION_BYTES:
            raise Fault(Kind.USAGE, f"a session id has {SESSION_BYTES} bytes")
        leadership = await self._confirmed()
        path, registry = self._check(message.path, principal), leadership.registry
        now = self._clock()
        registry.listens(message.session, process, message.addresses, now)
        if not message.sole:
            held = self._replica.tree.sectors.holding(path)
            if held is not None and registry.alive(path, now):
                raise Fault(Kind.CONFLICT, f"{held.process} alone answers there", path=path)
            registry.offer(message.session, process, path, message.actor, now)
            return _OFFERED
        if registry.offers_at(path, now):
            raise Fault(Kind.CONFLICT, "others answer there, beside each other", path=path)
        held = self._replica.tree.sectors.holding(path)
        if held is not None and (held.session, held.actor) == (message.session, message.actor):
            if not registry.extend(path, now):
                raise Fault(Kind.BUSY, "it is just being given to somebody", path=path)
            return Registered(LEASED_MS, held.epoch)
        command = Claim(
            path,
            principal,
            process,
            message.actor,
            message.session,
            held.epoch if held else 0,
            self._replica.host.now_ns(),
        )
        outcome = await self._change(registry, command, same=held is None)
        if (fault := outcome.fault()) is not None:
            raise fault
        await self._sole(leadership, path, outcome.index)
        return Registered(LEASED_MS, outcome.index)

    async def _sole(self, leadership: Leadership, path: Path, epoch: int) -> None:
        """Make sure that nobody else leads, and so that nobody else can be given the path."""
        if await self._confirmed() is not leadership or not leadership.registry.extend(
            path, self._clock()
        ):
            raise Fault(Kind.BUSY, "leadership has just moved", path=path)
        held = self._replica.tree.sectors.holding(path)
        if held is None or held.epoch != epoch:
            raise fenced(path, epoch, held.epoch if held else 0)

    async def _renew(self, message: Renew, process: Path, principal: PrincipalId) -> Renewed:
        if len(message.session) != SESSION_BYTES or len(message.stays) > STAYS_MAX:
            raise Fault(Kind.USAGE, f"a process registers up to {STAYS_MAX} paths")
        leadership = await self._confirmed()
        registry = leadership.registry
        for stay in message.stays:
            held = self._replica.tree.sectors.holding(stay.path) if stay.epoch else None
            if held is None or not held.file:  # who runs a file does so by its writer's right
                self._check(stay.path, principal)
        now = self._clock()
        registry.renew(message.session, process, message.revision, message.stays, now)
        if message.stays:
            registry.listens(message.session, process, message.addresses, now)
        lost = []
        for path, epoch in registry.claims_of(message.session).items():
            held = self._replica.tree.sectors.holding(path)
            ours = held is not None and (held.session, held.epoch) == (message.session, epoch)
            if not ours or not registry.extend(path, now):
                lost.append(path)
        return Renewed(LEASED_MS, tuple(lost))

    async def _withdraw(self, message: Withdraw) -> Withdrawn:
        leadership = await self._confirmed()
        registry, path = leadership.registry, message.path
        registry.withdraw(message.session, path)
        held = self._replica.tree.sectors.holding(path)
        if held is not None and held.session == message.session:
            await self._change(registry, Release(path, held.epoch), same=True)
        return Withdrawn()

    async def _change(self, registry: Registry, command: Claim | Release, *, same: bool) -> Outcome:
        """Propose another holder of a path, or none.

        Raises:
            Fault: as `Registry.begin`; as proposing.
        """
        registry.begin(command.path, self._clock(), same=same)
        return await propose_change(registry, self._service.commits, command, self._clock)

    async def _resolve(self, message: Resolve, asker: Path) -> Providers:
        leadership = await self._confirmed()
        at = message.path
        if not message.name:
            found = self._at(leadership, at)
            expected = not found and is_to_run(self._replica.tree.sectors, at)
            return Providers(
                tuple(nearest(found, asker)), self._replica.driver.applied, expected=expected
            )
        found = []
        while not found and len(components(at)) >= 1:
            found = self._at(leadership, join(at, *components(Path("/" + message.name))))
            at = parent(at)
        return Providers(tuple(nearest(found, asker)), self._replica.driver.applied)

    async def _list(self, message: ListProviders) -> Providers:
        leadership = await self._confirmed()
        now = self._clock()
        paths = {
            *leadership.registry.offered(now),
            *self._replica.tree.sectors.holdings(),
        }
        found: list[Provider] = []
        for path in sorted(paths):
            if path > message.after and is_within(path, message.below):
                found += self._at(leadership, path)
            if len(found) >= LISTED_MAX:
                break
        return Providers(tuple(found), self._replica.driver.applied)

    def _at(self, leadership: Leadership, path: Path) -> list[Provider]:
        now = self._clock()
        held = self._replica.tree.sectors.holding(path)
        if held is not None and leadership.registry.alive(path, now):
            addresses = leadership.registry.addresses_of(held.session)
            return [Provider(path, held.process, held.actor, held.epoch, addresses)]
        return leadership.registry.offers_at(path, now)

    async def _publish(self, message: PublishPlace, principal: PrincipalId) -> Published:
        await self._confirmed()
        now_ns = self._replica.host.now_ns()
        command = Publish(message.path, message.directory, principal, now_ns)
        return Published(await self._propose(command))

    async def _keep(self, message: KeepState, principal: PrincipalId) -> KeptState:
        await self._confirmed()
        self._held_by(message.path, principal, message.epoch)
        await self._propose(Keep(message.path, message.epoch, message.serial, message.state))
        return KeptState(message.epoch, message.serial, b"")

    async def _kept(self, message: GetState, principal: PrincipalId) -> KeptState:
        await self._confirmed()
        held = self._replica.tree.sectors.holding(message.path)
        if held is None or held.holder != principal:
            self._check(message.path, principal)
        kept = self._replica.tree.sectors.kept(message.path)
        return KeptState(kept.epoch, kept.serial, kept.state)

    def _held_by(self, path: Path, principal: PrincipalId, epoch: int) -> Holding:
        held = self._replica.tree.sectors.holding(path)
        if held is None or held.epoch != epoch:
            raise fenced(path, epoch, held.epoch if held else 0)
        if held.holder != principal:
            raise Fault(Kind.DENIED, "somebody else holds it", path=path)
        return held
