"""Whether new code may take the place of what runs: nobody who lives may be broken by it.

The contracts of what runs are asked of it, as data; nothing of the old code is run here. Who else
lives is asked of everybody that answers at a path of the tree.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from blocktree.actors import Runtime
from blocktree.actors.description import Contracts, Describe, Description, GetContracts
from blocktree.contract import Role
from blocktree.contract.reading import read
from blocktree.contract.versions import Peer, compare, gate
from blocktree.contract.written import WrittenContract, messages_of
from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.names import Path
from blocktree.store.place_messages import LISTED_MAX, ListProviders, Provider, Providers
from blocktree.wire import Record, decode

_SECONDS = 5.0
_AT_ONCE = 16
_STARTS_SECONDS = 10.0  # for what was given to a node just now
_AGAIN_SECONDS = 0.25
_R = TypeVar("_R", bound=Record)


async def judge_upgrade(
    runtime: Runtime, service: SectorService, tree: Path, path: Path, roles: Sequence[Role]
) -> None:
    """Refuse new code for what runs at `path` if somebody who lives would be broken.

    Args:
        runtime: asks.
        service: actor `places` of the nodes.
        tree: the tree's own path.
        path: of the actor that is to be replaced.
        roles: what the new code plays.

    Raises:
        Fault: CONTRACT with the name of who is in the way; NO_QUORUM, UNREACHABLE.
    """
    running = await _contracts(runtime, path)
    peers: list[Peer] | None = None
    for role in roles:
        new = role.contract
        written = None if new is None else running.get(new.name)
        if new is None or written is None:
            continue
        known = {message.record_code: message for message in messages_of(new)}
        result = compare(read(written, known), new, written=written)
        if result.breaks.get(role.name):
            if peers is None:
                peers = [p for p in await live_peers(runtime, service, tree) if p.name != path]
            gate(result, role.name, peers)


async def live_peers(runtime: Runtime, service: SectorService, below: Path) -> list[Peer]:
    """Everybody who answers at or below a path now and plays a role of a contract.

    Raises:
        Fault: UNREACHABLE, NO_QUORUM.
    """
    few = asyncio.Semaphore(_AT_ONCE)

    async def describe(provider: Provider) -> list[Peer]:
        async with few:
            try:
                said = await _patiently(runtime, provider.path, Describe(), Description)
            except Fault:
                return []  # it died just now, or does not answer: nobody that could be broken
        parts = [role.partition(" ") for role in said.roles]
        return [Peer(provider.path, role.rpartition(".")[2], mark) for role, _, mark in parts]

    found = await asyncio.gather(*map(describe, await providers(service, below)))
    return [peer for some in found for peer in some]


async def providers(service: SectorService, below: Path) -> list[Provider]:
    """Everybody who answers at or below a path now.

    Raises:
        Fault: UNREACHABLE, NO_QUORUM.
    """
    found: list[Provider] = []
    after = ""
    while True:
        message = ListProviders(below, after)
        page = (await service.ask(message, Providers, patience_s=_SECONDS)).providers
        found += page
        if len(page) < LISTED_MAX:
            return found
        after = page[-1].path


async def _contracts(runtime: Runtime, path: Path) -> dict[str, WrittenContract]:
    """The contracts of what runs at a path, by name; none if nothing answers there."""
    try:
        answer = await _patiently(runtime, path, GetContracts(), Contracts)
    except Fault as fault:
        if fault.kind is Kind.UNREACHABLE:
            return {}
        raise
    written = [decode(each, WrittenContract) for each in answer.contracts]
    return {each.name: each for each in written}


async def _patiently(runtime: Runtime, to: Path, message: Record, expect: type[_R]) -> _R:
    """Ask what may be starting just now."""
    tries = int(_STARTS_SECONDS / _AGAIN_SECONDS)
    for left in reversed(range(tries)):
        try:
            return await runtime.ask(to, message, expect, timeout=_SECONDS)
        except Fault as fault:
            if fault.kind not in (Kind.BUSY, Kind.STOPPED, Kind.MOVED) or not left:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)
    raise AssertionError("the last try raises")
