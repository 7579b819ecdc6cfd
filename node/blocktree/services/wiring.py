"""Gives the runtime of a process its paths: resolver, registrar and the judgement of senders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blocktree.actors import Runtime
from blocktree.files.client import SectorService
from blocktree.files.trust import Trust
from blocktree.keys import Draw
from blocktree.link import Links
from blocktree.names import Path, TreeId
from blocktree.services.registrar import Registrar
from blocktree.services.resolver import PathResolver
from blocktree.services.sending import SendRight
from blocktree.store.clock import boot_clock
from blocktree.store.messages import SESSION_BYTES
from blocktree.store.place_messages import PLACES_ACTOR


@dataclass(frozen=True, slots=True)
class Registration:
    """What a process needs to answer at paths, and to find who does."""

    service: SectorService  # actor `places` of the nodes
    resolver: PathResolver
    registrar: Registrar

    async def close(self) -> None:
        """Withdraw all that is registered."""
        await self.registrar.close()


def register_paths(
    runtime: Runtime,
    tree: TreeId,
    nodes: Callable[[], Sequence[Path]],
    *,
    draw: Draw,
    links: Links | None = None,
    addresses: Callable[[], Sequence[str]] = tuple,
    clock: Callable[[], float] = boot_clock,
) -> Registration:
    """Let the actors of a process answer at paths, and find those of others.

    Args:
        runtime: gets its `resolver` and the judge of its `places` by this.
        tree: the tree that it is of.
        nodes: the paths of the storing processes as known now.
        draw: random bytes.
        links: learn from the resolver where processes listen.
        addresses: where this process listens.
        clock: seconds that count time asleep.
    """
    session = draw(SESSION_BYTES)
    service = SectorService(runtime, nodes, session, clock, actor=PLACES_ACTOR)
    store = SectorService(runtime, nodes, session, clock)
    resolver = PathResolver(service, clock)
    runtime.resolver = resolver
    runtime.places.judge = SendRight(service, Trust(store, tree), tree).judge
    if links is not None:
        links.sources.append(resolver.addresses)
    return Registration(service, resolver, Registrar(service, runtime, addresses))
