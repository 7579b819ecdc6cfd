"""Judges who may send to what this process hosts at paths of the tree.

The accesses that govern a path come from a node and are verified here, up to the root, by the
members whose chains end in the tree's key: a lying node can give a right to nobody.
"""

from blocktree.caps import Right, check_accesses, load_access, require, rights_of
from blocktree.files.client import SectorService
from blocktree.files.trust import Trust
from blocktree.keys import Identity
from blocktree.names import Address, Path, TreeId
from blocktree.sectors.header import load_header, verify_header
from blocktree.store.place_messages import AccessAt, GetAccess

PATIENCE_S = 5.0


class SendRight:
    """The right to send at a path.

    Args:
        service: actor `places` of the nodes.
        trust: who belongs to the tree.
        tree: whose root key everything must lead to.
    """

    def __init__(self, service: SectorService, trust: Trust, tree: TreeId) -> None:
        self._service = service
        self._trust = trust
        self._tree = tree

    async def judge(self, path: Path, identity: Identity, sender: Address) -> None:
        """Refuse who may not send there. An actor of the tree may what the writer of its file may.

        Raises:
            Fault: DENIED; UNREACHABLE or NO_QUORUM if no node can be asked.
        """
        message = GetAccess(path, sender.process, sender.actor)
        reply = await self._service.ask(message, AccessAt, patience_s=PATIENCE_S)
        accesses = [load_access(encoded) for encoded in reply.accesses]
        known = {access.signer: await self._trust.identity(access.signer) for access in accesses}
        check_accesses(accesses, known.__getitem__, self._tree)
        if reply.header and Right.SEND not in rights_of(identity, accesses):
            signed = load_header(reply.header)
            identity = await self._trust.identity(signed.header.writer)
            verify_header(signed, identity.key)
        require(identity, Right.SEND, accesses, path=path)
