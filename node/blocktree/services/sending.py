"""Judges who may send to what this process hosts at paths of the tree.

The accesses that govern a path come from a node and are verified here, up to the root, by the
members whose chains end in the tree's key: a lying node can give a right to nobody.
"""

from blocktree.caps import Right, check_accesses, load_access, require
from blocktree.files.client import SectorService
from blocktree.files.trust import Trust
from blocktree.keys import Identity
from blocktree.names import Path, TreeId
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

    async def judge(self, path: Path, identity: Identity) -> None:
        """Refuse who may not send there.

        Raises:
            Fault: DENIED; UNREACHABLE or NO_QUORUM if no node can be asked.
        """
        reply = await self._service.ask(GetAccess(path), AccessAt, patience_s=PATIENCE_S)
        accesses = [load_access(encoded) for encoded in reply.accesses]
        known = {access.signer: await self._trust.identity(access.signer) for access in accesses}
        check_accesses(accesses, known.__getitem__, self._tree)
        require(identity, Right.SEND, accesses, path=path)
