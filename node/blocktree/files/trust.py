"""Judges every header that comes from afar: who signed it, who he is, and whether he may.

A server cannot make a header that passes: it lacks the keys of those who may write. What was judged
good is remembered by digest, so a header costs one signature check in its life here.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from blocktree.caps import Access, Right, check_accesses, load_access, require
from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.keys import Identity, Member, check_member
from blocktree.names import ROOT_FILE, FileId, Path, PrincipalId, TreeId
from blocktree.sectors.header import FileKind, Header, SignedHeader, verify_header
from blocktree.sectors.signature import Known
from blocktree.store.messages import GetMembers, Members
from blocktree.wire import decode

DEPTH_MAX = 64
_JUDGED_MAX = 1 << 16
_ANSWER_S = 3.0


class KnowsHeader(Protocol):
    """What `Trust` needs of a header that somebody else keeps."""

    @property
    def header(self) -> Header:
        """The decoded header."""


class Trust:
    """Who belongs to the tree, and what they may do.

    Args:
        service: where members are asked for.
        tree: whose root key everything must lead to.
    """

    headers: Callable[[FileId, bool], Awaitable[KnowsHeader]]  # set by the header cache

    def __init__(self, service: SectorService, tree: TreeId) -> None:
        self._service = service
        self._tree = tree
        self._identities: dict[PrincipalId, Identity] = {}
        self._index = 0
        self._judged: OrderedDict[bytes, None] = OrderedDict()
        self._signatures = Known()

    async def check(self, signed: SignedHeader) -> None:
        """Refuse a header that its writer did not sign or had no right to write.

        Raises:
            Fault: DAMAGED for a signature or chain that does not hold, DENIED for a writer without
                the right; as `SectorService.ask` when what is needed cannot be asked for.
        """
        if signed.digest in self._judged:
            return
        writer = await self.identity(signed.header.writer)
        verify_header(signed, writer.key, self._signatures)
        await _known_or_newest(partial(self._may_write, writer, signed.header))
        self._judged[signed.digest] = None
        if len(self._judged) > _JUDGED_MAX:
            self._judged.popitem(last=False)

    async def require_write(self, principal: PrincipalId, directory: Header) -> None:
        """Say early what the service would say of a commit: whether a member may write there.

        Raises:
            Fault: DENIED if he may not.
        """
        who, path = await self.identity(principal), directory.file.hex()

        async def judge(*, newest: bool) -> None:
            accesses = await self.accesses(directory, newest=newest)
            require(who, Right.WRITE, accesses, path=path)

        await _known_or_newest(judge)

    def wrote(self, signed: SignedHeader) -> None:
        """Take note of a header that this client signed itself."""
        self._judged[signed.digest] = None

    async def _may_write(self, writer: Identity, header: Header, *, newest: bool) -> None:
        accesses = await self.accesses(header, newest=newest)
        for access in accesses:
            await self.identity(access.signer)
        check_accesses(accesses, self._known, self._tree)
        require(writer, Right.WRITE, accesses, path=header.file.hex())

    async def accesses(self, header: Header, *, newest: bool) -> list[Access]:
        """The accesses that govern a file, the root directory's first."""
        found: list[Access] = []
        at = header
        for _ in range(DEPTH_MAX):
            if at.kind is FileKind.DIRECTORY and at.access:
                access = load_access(at.access)
                if access.file != at.file:
                    raise Fault(Kind.DAMAGED, "the access of another file", path=at.file.hex())
                found.append(access)
            if at.file == ROOT_FILE:
                return found[::-1]
            above = await self.headers(at.parent, newest)
            at = above.header
            if at.kind is not FileKind.DIRECTORY:
                raise Fault(Kind.DAMAGED, "its parent is not a directory", path=header.file.hex())
        raise Fault(Kind.DAMAGED, "directories deeper than can be", path=header.file.hex())

    async def identity(self, principal: PrincipalId) -> Identity:
        """Who a present or former member is.

        Raises:
            Fault: DENIED for somebody who never belonged to the tree.
        """
        if principal not in self._identities:
            self._learn(await self._service.ask(GetMembers(self._index), Members))
        if principal not in self._identities:  # who answered may be behind; one of all is not
            await asyncio.gather(*map(self._ask, self._service.nodes()))
        return self._known(principal)

    def _known(self, principal: PrincipalId) -> Identity:
        identity = self._identities.get(principal)
        if identity is None:
            raise Fault(Kind.DENIED, f"{principal.hex()[:10]}… is not a member of the tree")
        return identity

    async def _ask(self, node: Path) -> None:
        message = GetMembers(self._index)
        with contextlib.suppress(Fault):
            self._learn(await self._service.ask_node(node, message, Members, timeout=_ANSWER_S))

    def _learn(self, reply: Members) -> None:
        for encoded in (*reply.members, *reply.former):
            member = decode(encoded, Member)
            identity = check_member(member, self._tree, None)  # old signatures have no dates
            self._identities[identity.principal] = identity
        self._index = max(self._index, reply.index)


class _Judge(Protocol):
    async def __call__(self, *, newest: bool) -> None:
        """Raise DENIED by the accesses that are known here, or by the `newest`."""


async def _known_or_newest(judge: _Judge) -> None:
    """Deny by the newest accesses alone: it may have been shared since."""
    try:
        await judge(newest=False)
    except Fault as fault:
        if fault.kind is not Kind.DENIED:
            raise
        await judge(newest=True)
