"""Finds who answers at a path, remembers it, and forgets it when it turns out wrong."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from blocktree.actors.places import Target
from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.names import Address, Path
from blocktree.store.place_messages import Provider, Providers, Resolve

REMEMBERED_MAX = 4096
REMEMBERED_S = 30.0
PATIENCE_S = 5.0  # for a leader
_PAUSE_S = 0.2  # before the next look for an actor that starts or moves
_Value = TypeVar("_Value")


class PathResolver:
    """Says where a path leads now; also the addresses of processes that were found so.

    Args:
        service: actor `places` of the nodes.
        clock: seconds, monotonic.
    """

    def __init__(self, service: SectorService, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._known: OrderedDict[Path, tuple[Target, float]] = OrderedDict()
        self._listening: OrderedDict[Path, tuple[str, ...]] = OrderedDict()

    async def resolve(self, path: Path, /, *, timeout: float = PATIENCE_S) -> Target:
        """Who answers at a path; if an actor of the tree is to run there, who will before long.

        Raises:
            Fault: UNREACHABLE if nobody does; NO_QUORUM, DENIED.
        """
        known = self._known.get(path)
        if known is not None and known[1] > self._clock():
            return known[0]
        end, found = self._clock() + timeout, await self._look(path, timeout)
        while found.expected and (left := end - self._clock()) > _PAUSE_S:
            await asyncio.sleep(_PAUSE_S)  # it starts, or moves to another node
            found = await self._look(path, left - _PAUSE_S)
        if not found.providers:
            if found.expected:
                raise Fault(
                    Kind.UNREACHABLE,
                    "it is to run there, and no node runs it yet",
                    path=path,
                    next_step="bt ps",
                )
            raise Fault(
                Kind.UNREACHABLE,
                "nobody answers there",
                path=path,
                next_step="see who does elsewhere: bt services",
            )
        target = self._met(found.providers[0])
        _remember(self._known, path, (target, self._clock() + REMEMBERED_S))
        return target

    async def find(self, name: str, at: Path) -> tuple[Provider, ...]:
        """Who answers at `name` in the nearest directory at or above `at` that has it.

        Args:
            name: one or more components, such as `services/printer`.
            at: where the asker is.

        Raises:
            Fault: UNREACHABLE if there is none anywhere on the way up; NO_QUORUM, DENIED.
        """
        found = await self._service.ask(Resolve(at, name), Providers, patience_s=PATIENCE_S)
        if not found.providers:
            raise Fault(Kind.UNREACHABLE, f"no {name} answers there or above", path=at)
        for provider in found.providers:
            self._met(provider)
        return found.providers

    async def _look(self, path: Path, timeout: float) -> Providers:
        patience = min(timeout, PATIENCE_S)
        return await self._service.ask(Resolve(path), Providers, patience_s=patience)

    def forget(self, target: Target, /) -> None:
        """It did not lead there."""
        known = self._known.get(target.path)
        if known is not None and known[0] == target:
            with contextlib.suppress(KeyError):
                del self._known[target.path]

    def addresses(self, process: Path) -> Iterable[str]:
        """Where a process listens that answered at some path: a source for `Links`."""
        return self._listening.get(process, ())

    def _met(self, provider: Provider) -> Target:
        if provider.addresses:
            _remember(self._listening, provider.process, provider.addresses)
        address = Address(provider.process, provider.actor)
        return Target(provider.path, address, provider.epoch)


def _remember(kept: OrderedDict[Path, _Value], path: Path, value: _Value) -> None:
    kept[path] = value
    kept.move_to_end(path)
    if len(kept) > REMEMBERED_MAX:
        kept.popitem(last=False)
