"""New keys for a directory and all below it, so that who lost the right to read reads on no more.

Nothing is sealed again: what was readable stays readable to who kept a key, and what is written
from now on is sealed with the new ones. From the top down, for whoever has the key of a directory
has those of its entries. Breaking off leaves a part below with its old keys; doing it again is
always right.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from blocktree.caps import KeyRing, Right, load_access, revoke
from blocktree.fault import Fault, Kind
from blocktree.files.core import Core, until_agreed
from blocktree.files.directories import Edit
from blocktree.files.flush import Flushes
from blocktree.files.nodes import Node, hold
from blocktree.files.parts import Part
from blocktree.keys import Credential
from blocktree.names import FileId, Path, PrincipalId
from blocktree.sectors.directory import DirEntry
from blocktree.sectors.header import Cipher, FileKind, Header
from blocktree.wire import encode

_LISTED = 1024  # entries of a directory at a time
_TOGETHER = 32  # files in one transaction, beside their directory
_T = TypeVar("_T")
_PASSES_MAX = 16  # over a directory in which names move meanwhile

Place = tuple[Node, bytes]  # a directory, and a name in it


@dataclass(frozen=True, slots=True)
class Loss:
    """Who loses what in the topmost directory."""

    signer: Credential
    subjects: Collection[PrincipalId | Path] = ()
    rights: Right = Right.NONE


@dataclass(slots=True)
class Renewed:
    """What came of it."""

    files: set[FileId] = field(default_factory=set)
    kept: set[FileId] = field(default_factory=set)  # keep their keys: public, or several names


class Rekeying:
    """Renews keys."""

    def __init__(self, core: Core, flushes: Flushes) -> None:
        self._core = core
        self._flushes = flushes
        core.opened.find_key = self.find_key

    async def find_key(self, node: Node, header: Header) -> None:
        """Look for the key of a file, of which an older one is known here, in its directory."""
        directory = self._core.nodes.of(header.parent)
        if directory is None:
            return
        async for e in self._listed(directory):
            if e.file == node.file:
                self._core.nodes.add(e.file, e.kind, e.key, e.epoch)
                return

    async def renew(self, top: Node, place: Place | None, loss: Loss) -> Renewed:
        """Give a directory new keys, and all below it.

        Args:
            top: the directory.
            place: where its name is; None for the root.
            loss: who signs accesses, and who is in the one of `top` no more.

        Raises:
            Fault: DENIED if the signer may not share one of the directories; CONFLICT if the name
                means something else by now; as `Commits.commit`.
        """
        done = Renewed()
        directory, name = place or (None, b"")
        await self._flushes.store(top)
        await until_agreed(partial(self._try, directory, [(name, top)], loss, done))
        if top.file not in done.files:
            raise Fault(Kind.CONFLICT, "the name means something else by now")
        below, below_loss = [top], Loss(loss.signer)
        while below:
            below += await self._renew_in(below.pop(), below_loss, done)
        return done

    async def entries(self, directory: Node) -> list[tuple[bytes, Node]]:
        """What has a name in a directory."""
        await self._flushes.flush_names(directory)
        add = self._core.nodes.add
        listed = self._listed(directory)
        return [(e.name, add(e.file, e.kind, e.key, e.epoch)) async for e in listed]

    async def _listed(self, directory: Node) -> AsyncIterator[DirEntry]:
        cookie = 0
        while found := await self._core.directories.list(directory, cookie, _LISTED):
            cookie = found[-1][0]
            for _, entry in found:
                yield entry

    async def _renew_in(self, directory: Node, loss: Loss, done: Renewed) -> list[Node]:
        """Renew what has a name in a directory; gives back the directories among it."""
        directories: dict[FileId, Node] = {}
        for _ in range(_PASSES_MAX):
            entries = await self.entries(directory)
            seen = done.files | done.kept
            left = [(name, node) for name, node in entries if node.file not in seen]
            if not left:
                return list(directories.values())
            for some in batches(left, _TOGETHER):
                await until_agreed(partial(self._try, directory, some, loss, done))
            for _, node in left:
                if node.kind is FileKind.DIRECTORY and node.file in done.files:
                    directories[node.file] = node
        raise Fault(Kind.BUSY, "names move in the directory all the time")

    async def _try(
        self,
        directory: Node | None,
        some: Sequence[tuple[bytes, Node]],
        loss: Loss,
        done: Renewed,
    ) -> None:
        """One transaction: the files with their new keys, and the directory that has the keys."""
        core, rings = self._core, list[KeyRing]()
        async with AsyncExitStack() as stack:
            nodes = [node for _, node in some]
            await hold(stack, nodes if directory is None else [directory, *nodes])
            edit = None if directory is None else await core.directories.edit(directory)
            with self._core.parts.gathering() as parts:
                for name, node in some:
                    renewed = await self._part(edit, name, node, loss, done)
                    if renewed is not None:
                        parts.append(renewed[0])
                        rings.append(renewed[1])
                if not parts:
                    return
                now = core.now_ns()
                others = [] if edit is None else [await core.directories.prepare(edit, now)]
            headers = await self._core.parts.commit(parts, others)
            if edit is not None:
                core.directories.settle(edit, headers[0])
            for part, ring in zip(parts, rings, strict=True):
                core.opened.renewed(part.node, ring)
                done.files.add(part.node.file)

    async def _part(
        self, edit: Edit | None, name: bytes, node: Node, loss: Loss, done: Renewed
    ) -> tuple[Part, KeyRing] | None:
        """One file's part, once its new key is in the directory's edit; None: it keeps its key."""
        directories = self._core.directories
        if edit is not None:
            entry = await directories.find(edit, name)
            if entry is None or entry.file != node.file:
                return None  # it moved: found where it is now, or in the next pass
        header = await self._core.opened.header(node)
        if not _has_key(header):
            done.kept.add(node.file)
            return None
        ring, fields = await self._fields(node, header, loss)
        if edit is not None:
            fresh = DirEntry(name, node.file, node.kind, ring.current, ring.epoch)
            await directories.replace(edit, fresh, node)
        return await self._core.parts.prepare(node, header, **fields), ring

    async def _fields(
        self, node: Node, header: Header, loss: Loss
    ) -> tuple[KeyRing, dict[str, Any]]:
        """The longer ring, and the header fields that go with it."""
        assert node.ring is not None
        ring, fields = node.ring, dict[str, Any]()
        if header.access:
            old = load_access(header.access)
            stay = [each for each in sorted(old.readers) if each not in loss.subjects]
            remaining = [(await self._core.trust.identity(each)).key for each in stay]
            access, longer = revoke(
                old,
                loss.signer,
                subjects=loss.subjects,
                remaining=remaining,
                ring=ring,
                draw=self._core.draw,
                rights=loss.rights,
            )
            fields["access"] = encode(access)
        else:
            longer = ring.advance(self._core.draw)
        past = longer.seal_past(node.file)
        return longer, {**fields, "epoch": longer.epoch, "past_keys": past}


def _has_key(header: Header) -> bool:
    """Public files have none; one that has several names would be lost under the others."""
    several = header.kind is not FileKind.DIRECTORY and header.links > 1
    return header.cipher is not Cipher.PLAIN and not several


def batches(items: Sequence[_T], most: int) -> Iterator[Sequence[_T]]:
    """So many items at a time."""
    for start in range(0, len(items), most):
        yield items[start : start + most]
