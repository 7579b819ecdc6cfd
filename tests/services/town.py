"""Clients that answer at paths, beside real nodes."""

import os
from dataclasses import dataclass

from blocktree.actors import Actor, Call, receives
from blocktree.keys import NewTree
from blocktree.link import Listener, Side, listen
from blocktree.services import Registration, register_paths
from blocktree.wire import Record, record
from store.world import Client, World


@record(0x7FB1)
@dataclass(frozen=True, slots=True)
class Add(Record):
    amount: int


@record(0x7FB2)
@dataclass(frozen=True, slots=True)
class Sum(Record):
    total: int
    by: str


class Adder(Actor):
    def __init__(self, name: str) -> None:
        self.name = name
        self.total = 0
        self.calls: list[Call] = []

    @receives
    def add(self, message: Add, call: Call) -> Sum:
        self.total += message.amount
        self.calls.append(call)
        return Sum(self.total, self.name)


class Townsman:
    """A client that registers paths."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.runtime = client.runtime
        self.listener: Listener | None = None
        self.paths: Registration = register_paths(
            client.runtime,
            client.user.tree,
            lambda: client.world.paths,
            draw=os.urandom,
            links=client.links,
            addresses=self.addresses,
        )

    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{self.listener.port}"] if self.listener else []

    async def open(self) -> None:
        side = Side(self.client.credential, lambda _: None)
        self.listener = await listen(side, self.client.links.adopt, "127.0.0.1", 0)
        self.client.ends.append(self._stop)

    async def die(self) -> None:
        """Stop without a word."""
        await self.client.close()
        self.client.world.clients.remove(self.client)

    async def _stop(self) -> None:
        assert self.listener is not None
        if self.paths.registrar._task is not None:
            self.paths.registrar._task.cancel()
        await self.listener.close()


async def townsman(world: World, name: str, tree: NewTree | None = None) -> Townsman:
    client = Client(world, name, tree)
    await client.start()
    world.clients.append(client)
    made = Townsman(client)
    await made.open()
    return made
