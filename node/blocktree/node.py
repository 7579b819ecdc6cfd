"""The one place where a node is wired: disk, sector service, links, discovery, actors.

`python -m blocktree.node STATE_DIR` runs a node in the foreground, logging to standard error, until
SIGTERM. `store/folder.py` says what the state directory holds; `client.py` is the twin for
processes that use the tree without keeping it.
"""

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path as File

from blocktree.actors import Runtime
from blocktree.disk import Disk, KernelSync, Limits
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, Identity, check_credential
from blocktree.link import DEFAULT_PORT, Discovery, Links, Listener, Side, join_endpoint, listen
from blocktree.link.network import own_addresses
from blocktree.names import Path
from blocktree.raft import Membership, SnapshotMark
from blocktree.services import register_paths
from blocktree.services.hosting import Hosting
from blocktree.services.run_messages import SERVICES_ACTOR
from blocktree.store.blobs import hashed_in_a_millisecond
from blocktree.store.folder import NodeFolder, Settings
from blocktree.store.host import Host
from blocktree.store.joining import Joining
from blocktree.store.membership import admit
from blocktree.store.roster import Roster, node_id
from blocktree.store.service import SectorStore
from blocktree.store.standing import Standing, removed
from blocktree.store.worker import Threads

log = logging.getLogger(__name__)

_CREW = 2
_ADDRESSES_MAX = 8
_HAND_OVER_SECONDS = 1.5
_POLL_SECONDS = 0.02
_GC_THRESHOLDS = (10_000, 20, 50)  # requests leave few cycles: look for them more seldom
_M_ARENA_MAX = -8  # mallopt: every thread's own arena would cost megabytes


class Node:
    """A storing process, open but not begun: make it with `start_node`."""

    def __init__(
        self,
        folder: NodeFolder,
        settings: Settings,
        credential: Credential,
        disk: Disk,
        limits: Limits,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.credential = credential
        self.disk = disk
        self.port = 0
        self._worker = Threads("disk")
        self._crew = Threads("crew", _CREW)
        self._side = Side(credential, self._admit)
        self.links = Links(self._side, sources=[self._known], dice=random.random)
        self.runtime = Runtime(credential.path, self.links)
        self._kernel = KernelSync.open()
        host = Host(
            disk,
            self._worker,
            self._crew,
            reserve=limits.reserve,
            hashed_at_once=hashed_in_a_millisecond(),
            kernel=self._kernel,
        )
        self.store = SectorStore(credential.identity, self.runtime, host)
        self.store.members_changed = self.links.recheck
        self.paths = register_paths(
            self.runtime,
            credential.tree,
            lambda: [self.path, *self.roster.paths_beside(self.path)],
            draw=os.urandom,
            links=self.links,
        )
        self._judge = admit(self.roster, time.time)
        self._listener: Listener | None = None
        self._discovery: Discovery | None = None
        self._standing = Standing(credential.principal, self.store.replica, self.links)
        self._joining: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """Where the node is in the tree."""
        return self.credential.path

    @property
    def roster(self) -> Roster:
        """Who belongs, as this node knows."""
        return self.store.replica.tree.roster

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where others may reach this node."""
        hosts = (self.settings.host,) if self.settings.host else own_addresses()
        return tuple(join_endpoint(host, self.port) for host in hosts)[:_ADDRESSES_MAX]

    async def begin(self) -> None:
        """Listen, take part, announce, and join if that is still to do.

        Raises:
            Fault: DENIED if the tree has removed this node; as `listen`.
        """
        self.port = await self._listen()
        if self.port != self.settings.port:
            self.settings = dataclasses.replace(self.settings, port=self.port)
            self.folder.save_settings(self.settings)
        await self.store.start()
        hosting = Hosting(self.store, self.paths, self.credential.tree)
        await self.runtime.spawn(SERVICES_ACTOR, hosting)
        await self._standing.check()
        self._joining = asyncio.create_task(self._belong())
        self._joining.add_done_callback(self._belonged)
        self.folder.announce(self.path, self.port)
        if self.settings.discover:
            self._discovery = Discovery(
                self.credential,
                self.port,
                seeds=self.settings.seeds,
                on_found=lambda found: self.links.refresh(found.path),
            )
            self.links.sources.append(self._discovery.addresses)
            await self._discovery.start()

    async def stop(self) -> None:
        """Hand leadership over, stop answering, leave a checkpoint."""
        self.folder.withdraw()
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        await self.runtime.stop(SERVICES_ACTOR)
        await self.paths.close()
        await self._hand_over()
        await self.kill()

    async def kill(self) -> None:
        """Stop without a word to the group, but for the checkpoint."""
        self.folder.withdraw()
        if self._joining is not None:
            self._joining.cancel()
        await self.runtime.stop(SERVICES_ACTOR)
        await self.store.stop()
        await self.runtime.close()
        if self._discovery is not None:
            await self._discovery.stop()
        if self._listener is not None:
            await self._listener.close()
        await self.links.close()
        await asyncio.to_thread(self._close_disk)

    # inside

    def _admit(self, peer: Identity) -> None:
        self._judge(peer)

    def _known(self, path: Path) -> Iterable[str]:
        return (*self.roster.addresses(path), *self.settings.seeds)

    async def _listen(self) -> int:
        """The port that was given, else the usual one, else any."""
        first = self.settings.port or DEFAULT_PORT
        try:
            self._listener = await listen(self._side, self.links.adopt, self.settings.host, first)
        except Fault as fault:
            if fault.kind is not Kind.EXISTS or self.settings.port:
                raise
            self._listener = await listen(self._side, self.links.adopt, self.settings.host, 0)
        return self._listener.port

    async def _belong(self) -> None:
        joining = Joining(
            self.credential.identity, self.store, self.links, self._doors, self.addresses
        )
        try:
            await joining.run(self.folder.ticket())
        except Fault as fault:
            belonged = self.folder.ticket() is None or self.disk.log.last_index > 0
            if fault.kind is Kind.DENIED and belonged:
                fault = removed(self.path, fault.what)
            log.error("the tree does not want this node: %s", fault)  # noqa: TRY400 - said in full
            self.store.broken(fault)
            return
        self.folder.spent()
        end = await self._standing.watch()
        log.error("%s", end)
        self.store.broken(end)

    def _belonged(self, task: "asyncio.Task[None]") -> None:
        """A node that broke while it joined must not stand there and look alive."""
        if task.cancelled() or (cause := task.exception()) is None:
            return
        log.error("joining the tree broke", exc_info=cause)
        self.store.broken(Fault(Kind.FAILED, "joining the tree broke, the log says how"))

    def _doors(self) -> Sequence[str]:
        found = self._discovery.found if self._discovery is not None else ()
        return [*(text for one in found for text in one.addresses), *self.settings.seeds]

    async def _hand_over(self) -> None:
        replica = self.store.replica
        driver = replica.driver
        others = [voter for voter in driver.membership.voters if voter != replica.me]
        if not driver.leads or not others or replica.failed is not None:
            return
        matches = driver.raft.matches()
        with contextlib.suppress(Fault, TimeoutError):
            driver.transfer(max(others, key=lambda voter: matches.get(voter, 0)))
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                while driver.leads:  # noqa: ASYNC110 - a wait of a few polls, once in a life
                    await asyncio.sleep(_POLL_SECONDS)

    def _close_disk(self) -> None:
        self._worker.stop()
        self._crew.stop()
        if self._kernel is not None:
            self._kernel.close()
        self.disk.close()


async def start_node(root: File, limits: Limits | None = None) -> Node:
    """Open a node's state directory and take part in its tree.

    Raises:
        Fault: what the directory, the disk, the clock or the port says.
    """
    folder, limits = NodeFolder(root), limits or Limits()
    credential = folder.credential()
    check_credential(credential, int(time.time()))
    disk = folder.open_disk(credential, limits)
    try:
        ticket = folder.ticket()
        if ticket is not None and ticket.genesis and not disk.saved().mark.membership.voters:
            founder = Membership((node_id(credential.principal),))
            disk.checkpoint({}, SnapshotMark(0, 0, founder))
        node = Node(folder, folder.settings(), credential, disk, limits)
    except BaseException:
        disk.close()
        raise
    try:
        await node.begin()
    except BaseException:
        await node.kill()
        raise
    return node


async def serve(root: File) -> None:
    """Run a node until SIGTERM or SIGINT, or until its disk fails.

    Raises:
        Fault: why it stopped by itself.
    """
    node = await start_node(root)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.collect()
    gc.freeze()  # what was imported lives to the end: never look through it again
    gc.set_threshold(*_GC_THRESHOLDS)
    log.info("%s answers on port %d", node.path, node.port)
    node.store.failed.add_done_callback(lambda _: stop.set())
    await stop.wait()
    log.info("stopping")
    await node.stop()
    if node.store.failed.done():
        raise node.store.failed.result()


def main(arguments: list[str]) -> int:
    """Run the node whose state directory is the only argument; the exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if len(arguments) != 1:
        log.error("usage: python -m blocktree.node STATE_DIR")
        return 2
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    try:
        asyncio.run(serve(File(arguments[0])))
    except Fault as fault:
        log.error("%s", fault)  # noqa: TRY400 - a sentence for people, not a traceback
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
