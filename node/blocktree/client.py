"""A process that uses the tree without keeping it, wired together: a mount, a command.

`node.py` is the twin for processes that keep the tree. A client works with its user's key, which
signs what it writes, and is on the network under a credential of its own that the user's key made
a moment ago, so that several clients on one machine are told apart.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import socket
import time
from collections.abc import Iterable, Sequence
from functools import partial

from blocktree.actors import Address, Runtime
from blocktree.fault import Fault, Kind
from blocktree.files.opening import Limits, open_filesystem
from blocktree.files.service import Filesystem
from blocktree.keys import Credential, Identity, Member, MemberKind, process_credential
from blocktree.link import (
    AllFailedError,
    Discovery,
    Found,
    Link,
    Links,
    Listener,
    Side,
    join_endpoint,
    listen,
    stagger,
)
from blocktree.link.network import own_addresses
from blocktree.names import Path
from blocktree.services import register_paths
from blocktree.store.messages import (
    STORE_ACTOR,
    GetMembers,
    GetStatus,
    Members,
    Status,
)
from blocktree.wire import decode

log = logging.getLogger(__name__)

FIND_SECONDS = 8.0  # until the first node must have been found
_REFRESH_SECONDS = 30.0
_STRANGERS_SECONDS = 0.5  # between two questions because of strangers
_ASK_SECONDS = 3.0
_STAGGER_SECONDS = 0.1  # between two nodes that are asked the same
_POLL_SECONDS = 0.02
_SEEDS_SECONDS = 1.0  # before seeds that did not answer are dialled again
_REFUSALS = frozenset({Kind.DENIED, Kind.WRONG_TREE, Kind.EXPIRED})
_ADDRESSES_MAX = 8


class Client:
    """Links, discovery and actors of one client. `start` it, use `files` or `ask_all`, `close` it.

    Args:
        user: whose credential; its key signs what is written.
        seeds: addresses of nodes that are known beforehand ("host:port").
        serve: whether others may fetch sectors from this process (a mount) or not (a command).
        in_person: on the network under `user` itself, for what only the owner may ask.
        known_as: on the network under this credential, which acts for `user`: for a process that
            is the same one each time it runs.
    """

    def __init__(
        self,
        user: Credential,
        *,
        seeds: Iterable[str] = (),
        serve: bool = False,
        in_person: bool = False,
        known_as: Credential | None = None,
    ) -> None:
        self.user = user
        self.credential = known_as or (user if in_person else _fresh_credential(user))
        self.members: tuple[Member, ...] = ()
        self._members_index = 0  # of the entry that changed them last
        self._seeds = tuple(dict.fromkeys(seeds))
        self._met: set[str] = set()  # seeds that answered
        self._dials: dict[str, asyncio.Task[Link]] = {}  # of seeds
        self._serve = serve
        self._nodes: dict[Path, None] = {}  # found on the network or by a seed, newest last
        self._side = Side(self.credential, self._admit)
        self.links = Links(self._side, sources=[self._recorded], dice=random.random)
        self.runtime = Runtime(self.credential.path, self.links)
        self.paths = register_paths(
            self.runtime,
            user.tree,
            self.nodes,
            draw=secrets.token_bytes,
            links=self.links,
            addresses=self._listening,
        )
        self.discovery: Discovery | None = None
        self._strangers = asyncio.Event()
        self._listener: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.files: Filesystem | None = None

    async def start(self, *, find_seconds: float = FIND_SECONDS) -> None:
        """Find the tree's nodes and learn who belongs to it.

        Raises:
            Fault: UNREACHABLE if no node is found in time; what the node said if it refused us.
        """
        if self._serve:
            self._listener = await listen(self._side, self.links.adopt)
        port = self._listener.port if self._listener else 0
        self.discovery = Discovery(self.credential, port, on_found=self._found)
        self.links.sources.append(self.discovery.addresses)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self.discovery.start()))
        self._dial_seeds()
        deadline, again = time.monotonic() + find_seconds, time.monotonic() + _SEEDS_SECONDS
        refusals: dict[str, Fault] = {}
        while not await self._learn_members():
            refusals |= self._met_seeds()
            turned_away = refusals and not self._nodes and not self._dials
            if time.monotonic() > deadline or turned_away:
                raise self._nobody(list(refusals.values()))
            await self._news()
            if time.monotonic() > again:  # one may have been starting
                self._dial_seeds()
                again = time.monotonic() + _SEEDS_SECONDS
        self._tasks.append(loop.create_task(self._keep_learning()))

    async def open_files(self, limits: Limits | None = None) -> Filesystem:
        """The tree as a file system; closed with the client."""
        files = open_filesystem(self.user, self.runtime, self.nodes, limits)
        self.files = files
        await files.start()
        return files

    async def close(self) -> None:
        """Commit what is written and leave."""
        try:
            await self.paths.close()
            if self.files is not None:
                await self.files.close()
        finally:
            tasks = [*self._tasks, *self._dials.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._listener is not None:
                await self._listener.close()
            if self.discovery is not None:
                await self.discovery.stop()
            await self.runtime.close()
            await self.links.close()

    def nodes(self) -> Sequence[Path]:
        """The storing processes known now."""
        recorded = [m.path for m in self.members if m.kind is MemberKind.NODE]
        if not recorded:
            return tuple(self._nodes)
        return tuple(recorded)

    def _listening(self) -> tuple[str, ...]:
        """Where this process listens, if it does."""
        if self._listener is None:
            return ()
        port = self._listener.port
        return tuple(join_endpoint(host, port) for host in own_addresses())[:_ADDRESSES_MAX]

    def addresses(self) -> tuple[str, ...]:
        """Where the nodes are, for the next time."""
        nodes = self.nodes()
        found = self.discovery.found if self.discovery else ()
        seen = [address for each in found if each.path in nodes for address in each.addresses]
        return (*seen, *(address for path in nodes for address in self._recorded(path)))

    async def statuses(self) -> list[tuple[Path, Status | Fault]]:
        """What every node says of itself, or why it does not answer.

        All are asked who belongs, too, and the newest word counts: a node that lags behind may
        still know one that was just removed, or not yet one that joined.
        """
        before = self.nodes()
        _, statuses = await asyncio.gather(
            asyncio.gather(*map(self._learn_from, before)),
            asyncio.gather(*map(self._status, before)),
        )
        after = self.nodes()
        joined = [path for path in after if path not in before]
        statuses += await asyncio.gather(*map(self._status, joined))
        return [(path, status) for path, status in statuses if path in after]

    # ---- who belongs

    def _admit(self, peer: Identity) -> None:
        """A node of the tree or another client, judged once the members are known.

        Who is unknown may have joined since the members were learnt: they are asked for again, and
        until then it is out of reach, which is tried again, and not denied, which is final.
        """
        if not self.members:
            return
        belonging = {member.principal for member in self.members}
        if peer.principal in belonging or peer.acts_for in belonging:
            return
        self._strangers.set()
        raise Fault(Kind.UNREACHABLE, "is not known as a member of the tree", path=str(peer.path))

    def _recorded(self, path: Path) -> Iterable[str]:
        """Where a member said that it listens, then the seeds: they may be anybody's."""
        found = [a for member in self.members if member.path == path for a in member.addresses]
        return (*found, *self._seeds)

    def _found(self, found: Found) -> None:
        if found.kind == MemberKind.NODE.name.lower():
            self._nodes[found.path] = None
            self.links.refresh(found.path)

    def _dial_seeds(self) -> None:
        """Begin to dial every seed that has not answered; one that is frozen holds nobody up."""
        for seed in self._seeds:
            if seed not in self._met and seed not in self._dials:
                self._dials[seed] = asyncio.ensure_future(self.links.reach(seed))

    async def _news(self) -> None:
        """Wait for the next dial to end, not for long: nodes are found otherwise, too."""
        if self._dials:
            which = asyncio.FIRST_COMPLETED
            await asyncio.wait(self._dials.values(), timeout=_POLL_SECONDS, return_when=which)
        else:
            await asyncio.sleep(_POLL_SECONDS)

    def _met_seeds(self) -> dict[str, Fault]:
        """Take note of what came of the dials; faults of those that refused, by seed."""
        refusals = {}
        for seed, dial in [each for each in self._dials.items() if each[1].done()]:
            del self._dials[seed]
            try:
                self._nodes[dial.result().peer.path] = None
                self._met.add(seed)
            except Fault as fault:
                log.info("%s: %s", seed, fault)
                if fault.kind is not Kind.UNREACHABLE:
                    refusals[seed] = fault.at(seed)
        return refusals

    def _nobody(self, refusals: Sequence[Fault]) -> Fault:
        if refusals:
            return refusals[0]
        faults = [fault for path in self._nodes if (fault := self.links.why_not(path))]
        if faults:
            return faults[0]
        tried = f" and nobody answers at {', '.join(self._seeds)}" if self._seeds else ""
        return Fault(
            Kind.UNREACHABLE,
            f"no node of the tree was found on this network{tried}",
            next_step="start one (bt up), or say where one is: --addr HOST:PORT",
        )

    async def _learn_members(self) -> bool:
        """Ask one node after another who belongs, until one knows no less than we do.

        Raises:
            Fault: DENIED, WRONG_TREE or EXPIRED if that is all they say.
        """

        async def learn(path: Path) -> None:
            learnt = await self._learn_from(path)
            if learnt is not True:
                raise learnt or Fault(Kind.BUSY, "knows less than we do", path=path)

        nodes = self.nodes() or tuple(self._nodes)
        try:
            await stagger([partial(learn, path) for path in nodes], _STAGGER_SECONDS)
        except AllFailedError as failed:
            refusal = next((f for f in failed.faults if f.kind in _REFUSALS), None)
            if refusal is not None:
                raise refusal from None
            return False
        return True

    async def _learn_from(self, path: Path) -> bool | Fault:
        """Whether a node knew no less than we do of who belongs, or why it does not answer."""
        try:
            answer = await self.runtime.ask(
                Address(path, STORE_ACTOR), GetMembers(), Members, timeout=_ASK_SECONDS
            )
        except Fault as fault:
            log.info("%s: %s", path, fault)
            return fault
        if not answer.members or answer.index < self._members_index:
            return False
        self._members_index = answer.index
        self.members = tuple(decode(member, Member) for member in answer.members)
        return True

    async def _keep_learning(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_REFRESH_SECONDS):
                    await self._strangers.wait()
            self._strangers.clear()
            try:
                await self._learn_members()
                self.links.recheck()
            except Fault as fault:
                log.warning("%s", fault)
            await asyncio.sleep(_STRANGERS_SECONDS)

    async def _status(self, path: Path) -> tuple[Path, Status | Fault]:
        try:
            status = await self.runtime.ask(
                Address(path, STORE_ACTOR), GetStatus(), Status, timeout=_ASK_SECONDS
            )
        except Fault as fault:
            return path, fault
        return path, status


def _fresh_credential(user: Credential) -> Credential:
    host = socket.gethostname().split(".")[0] or "laptop"
    name = f"{host}-{secrets.token_hex(4)}"
    return process_credential(user, name, now=int(time.time()), draw=secrets.token_bytes)
