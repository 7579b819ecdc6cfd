"""A house whose tree is kept by a real node, with its real claims; gateways in this process."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

from blocktree.client import Client
from blocktree.keys import process_credential
from blocktree.services import Registrar
from blocktree.wire import Record
from blocktree_gateway.__main__ import TreeSurvey
from blocktree_gateway.folder import Settings
from blocktree_gateway.gateway import Above, Gateway
from blocktree_gateway.tree.devices import Devices
from blocktree_gateway.tree.smallfiles import Place, SmallFiles
from gateway.house import House
from keys.forge import drawn
from store.world import World, world

_T = TypeVar("_T")


class Town(House):
    """A house with clients of a real tree in place of memory; make it with `town`."""

    def __init__(self, folder: Path, nodes: World) -> None:
        self.folder = folder
        self.nodes = nodes
        self.user = nodes.tree.user
        self.gateways = {}
        self.programs = []
        self.opened = []
        self.clients: dict[str, Client] = {}
        self.registrars: dict[str, Registrar] = {}
        self.person = Client(self.user, seeds=self.seeds)

    @property
    def seeds(self) -> list[str]:
        return [where for path in self.nodes.paths for where in self.nodes.where(path)]

    async def begin(self) -> None:
        await self.person.start()
        self.files = await self.person.open_files()
        self.devices = Devices(SmallFiles(self.files))

    async def gateway(self, name: str = "pi", *, commit_s: float = 0.1, **settings: Any) -> Gateway:
        """Start a gateway as its process does."""
        who = process_credential(
            self.user, name, now=int(time.time()), draw=drawn(zlib.crc32(name.encode()))
        )
        client = self.clients[name] = Client(self.user, seeds=self.seeds, serve=True, known_as=who)
        await client.start()
        files, claims = await client.open_files(), client.paths.registrar
        self.registrars[name] = claims
        runtime, survey = client.runtime, TreeSurvey(client)
        above = Above(who, self.user.key, runtime, files, claims, survey, runtime.ask)
        given = {"host": "127.0.0.1", "udp": 0, "tls": 0, "serial": (), "discover": False}
        gateway = Gateway(
            Settings("", **{**given, **settings}), above, commit_s=commit_s, publish_s=0.1
        )
        await gateway.start()
        self.gateways[name] = gateway, files, claims, runtime  # type: ignore[assignment]
        return gateway

    def holds(self, name: str, place: Place) -> bool:
        """Whether a gateway, dead or alive, may act for the device there at this moment."""
        path = self.path(*[each.decode() for each in place])
        registrar = self.registrars[name]
        entry = registrar._entries.get(path)
        return entry is not None and registrar.holds(path, entry.epoch)

    def mute(self, name: str) -> None:
        """A gateway asks for no more time: its claims end, though it still hears its devices."""
        task = self.registrars[name]._task
        assert task is not None
        task.cancel()

    async def kill(self, name: str) -> None:
        """A gateway's process is gone from one moment to the next: nothing is told to anybody."""
        client = self.clients.pop(name)
        if client.paths.registrar._task is not None:
            client.paths.registrar._task.cancel()
        for task in client._tasks:
            task.cancel()
        await self.drop(name)
        assert client._listener is not None
        assert client.discovery is not None
        await client._listener.close()
        await client.discovery.stop()
        await client.links.close()

    async def ask(self, place: Place, message: Record, expect: type[_T]) -> _T:
        path = self.path(*[each.decode() for each in place])
        answer = await self.person.runtime.ask(path, message, timeout=5)
        assert isinstance(answer, expect)
        return answer

    async def close(self) -> None:
        for program in self.programs:
            program.stop()
        for name in list(self.gateways):
            gateway, *_ = self.gateways.pop(name)
            await gateway.stop()
        for client in (*self.clients.values(), self.person):
            with contextlib.suppress(Exception):
                await client.close()


@contextlib.asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    async with world(folder / "nodes", nodes=1) as nodes:
        made = Town(folder, nodes)
        try:
            await made.begin()
            yield made
        finally:
            async with asyncio.timeout(20):
                await made.close()
