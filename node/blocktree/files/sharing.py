"""Who may do what in a directory: looked at, given, and taken back.

What the directories above give is inherited and only adds up (`caps/SPEC.md`), so taking back in
one directory takes only what was given there.

Readers judge a file's writer by the rights of now. So before the right to write is taken back, what
its holder wrote last is signed anew, by who takes it back and so answers for it from then on.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial

from blocktree.caps import Access, Grant, Right, load_access, new_access, share, withdraw
from blocktree.fault import Fault, Kind
from blocktree.files.core import Core, until_agreed
from blocktree.files.flush import Flushes
from blocktree.files.nodes import Node, hold
from blocktree.files.rekeying import Loss, Rekeying, Renewed, batches
from blocktree.keys import Credential, Principal
from blocktree.names import Path, PrincipalId
from blocktree.sectors.header import FileKind
from blocktree.wire import encode

_SIGNED_TOGETHER = 48  # files in one transaction
_Change = Callable[[Access | None, Node], Access]


class Sharing:
    """The accesses of directories."""

    def __init__(self, core: Core, flushes: Flushes) -> None:
        self._core = core
        self._flushes = flushes
        self._keys = Rekeying(core, flushes)

    async def access(self, ino: int) -> Access | None:
        """What a directory itself says of who may use it; None if it only inherits."""
        header = await self._core.opened.header(self._core.nodes.at(ino))
        return load_access(header.access) if header.access else None

    async def give(
        self, ino: int, signer: Credential, grants: Sequence[Grant], readers: Sequence[Principal]
    ) -> None:
        """Give rights in a directory and below; nobody loses anything.

        Args:
            ino: the directory.
            signer: who answers for it: has GRANT above it, or is the owner for the root.
            grants: what is given to whom.
            readers: who of them is to read: their keys, which the directory's key is sealed to.

        Raises:
            Fault: DENIED if the signer may not; TOO_LARGE for more than 256 grants; NOT_DIRECTORY.
        """
        assert all(not grant.rights & Right.READ or grant.principal for grant in grants)

        def change(old: Access | None, node: Node) -> Access:
            assert node.ring is not None
            given = {"grants": grants, "readers": readers, "ring": node.ring}
            if old is None:
                return new_access(signer, signer.tree, node.file, **given)  # type: ignore[arg-type]
            return share(old, signer, **given)  # type: ignore[arg-type]

        await self._change(ino, change)

    async def take_back(
        self,
        ino: int,
        signer: Credential,
        subjects: Collection[PrincipalId | Path],
        rights: Right = Right.ALL,
        *,
        place: tuple[int, bytes] | None = None,
    ) -> Renewed | None:
        """Take back rights that were given to some in this very directory.

        What they wrote below it, and nobody after them, is signed anew first. What they write at
        that very moment may be refused by readers afterwards. If one of them could open the
        directory's key, all below gets new keys, and what came of that is given back.

        Args:
            ino: the directory.
            signer: as in `give`.
            subjects: who loses them.
            rights: what they lose.
            place: the directory and name that `ino` has; None for the root.

        Raises:
            Fault: NOT_FOUND if that was not given; as `give` and `Rekeying.renew`.
        """
        node, old = self._core.nodes.at(ino), await self.access(ino)
        if old is None or not _taken(old, subjects, rights):
            raise Fault(Kind.NOT_FOUND, "that was not given to them in this directory")
        await self._adopt(node, _taken(old, subjects, rights & Right.WRITE))
        if rights & Right.READ and old.readers & set(subjects):
            return await self._keys.renew(node, self._place(place), Loss(signer, subjects, rights))

        def change(old: Access | None, node: Node) -> Access:
            assert old is not None, f"{node.file.hex()} had one, and none is ever taken away"
            return withdraw(old, signer, subjects, rights)

        await self._change(ino, change)
        return None

    async def renew(
        self, ino: int, signer: Credential, *, place: tuple[int, bytes] | None = None
    ) -> Renewed:
        """Begin new keys in a directory and below, for who may read there now. As `take_back`."""
        return await self._keys.renew(self._core.nodes.at(ino), self._place(place), Loss(signer))

    def _place(self, place: tuple[int, bytes] | None) -> tuple[Node, bytes] | None:
        return None if place is None else (self._core.nodes.at(place[0]), place[1])

    async def _change(self, ino: int, change: _Change) -> None:
        node, core = self._core.nodes.at(ino), self._core
        await self._flushes.store(node)

        async def attempt() -> None:
            async with node.lock:
                header = await core.opened.header(node)
                if header.kind is not FileKind.DIRECTORY:
                    raise Fault(Kind.NOT_DIRECTORY, "only directories are shared")
                access = change(load_access(header.access) if header.access else None, node)
                fields = {"access": encode(access), "ctime_ns": core.now_ns()}
                part = await self._core.parts.prepare(node, header, **fields)
                await self._core.parts.commit([part], [])

        await until_agreed(attempt)

    async def _adopt(self, top: Node, lost: Sequence[Grant]) -> None:
        """Sign anew what they wrote last below a directory who hold one of these grants."""
        below = [top] if lost else []
        while below:
            theirs: list[Node] = []
            for _, node in await self._keys.entries(below.pop()):
                if node.kind is FileKind.DIRECTORY:
                    below.append(node)
                header = await self._core.opened.header(node)
                writer = await self._core.trust.identity(header.writer)
                if any(grant.covers(writer) for grant in lost):
                    theirs.append(node)
            for some in batches(theirs, _SIGNED_TOGETHER):
                await until_agreed(partial(self._sign, some))

    async def _sign(self, nodes: Sequence[Node]) -> None:
        async with AsyncExitStack() as stack:
            await hold(stack, nodes)
            with self._core.parts.gathering() as parts:
                for node in nodes:
                    header = await self._core.opened.header(node)
                    if not node.gone:
                        parts.append(await self._core.parts.prepare(node, header))
            await self._core.parts.commit(parts, [])


def _taken(access: Access, subjects: Collection[PrincipalId | Path], rights: Right) -> list[Grant]:
    """The grants to `subjects` that have some of these rights."""
    return [
        grant
        for grant in access.grants
        if (grant.principal or grant.path) in subjects and grant.rights & rights
    ]
