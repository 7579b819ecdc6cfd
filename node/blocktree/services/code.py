"""The code of an actor, as its node reads it: from its own state and disk, and verified whole.

Verified is: the header of the actor and of its code, each against its writer's key; the writers'
chains, up to the tree's key; their right to write where the files lie, by accesses that are
verified up to the root; and that the code is the very one that the actor's file names.
"""

from hashlib import sha256

from blocktree.caps import Right, check_accesses, require
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, check_chain
from blocktree.names import Digest, FileId, PrincipalId, TreeId, digest_of
from blocktree.sectors.header import SignedHeader, verify_header
from blocktree.sectors.running import Running, read_code, read_running
from blocktree.store.replica import Replica

_WAIT_PATHS = 3


def verify(replica: Replica, tree: TreeId, signed: SignedHeader) -> None:
    """Refuse a header of this node's state that its writer did not sign or might not write.

    Raises:
        Fault: DAMAGED, DENIED.
    """
    state, header = replica.tree.sectors, signed.header
    writer = state.identify(header.writer)
    writer = check_chain(writer.chain, tree, None)
    verify_header(signed, writer.key)
    accesses = state.rights.accesses(header.parent)
    roster = replica.tree.roster.everybody()

    def identify(principal: PrincipalId) -> Identity:
        known = roster.get(principal)
        if known is None:
            raise Fault(Kind.DENIED, f"{principal.hex()[:16]} never belonged to the tree")
        return check_chain(known.member.chain, tree, None)

    check_accesses(accesses, identify, tree)
    require(writer, Right.WRITE, accesses, path=header.file.hex())


async def load(replica: Replica, tree: TreeId, file: FileId) -> tuple[Running, bytes]:
    """What an actor's file says, and its code.

    Raises:
        Fault: NOT_FOUND if a file is gone; DAMAGED, DENIED, UNSUPPORTED, MALFORMED;
            UNREACHABLE if the code is on no node that answers.
    """
    state = replica.tree.sectors
    signed = state.header(file)
    if signed is None:
        raise Fault(Kind.NOT_FOUND, "it is not to run any more")
    verify(replica, tree, signed)
    running = read_running(signed)
    code = state.header(FileId(running.code))
    if code is None:
        raise Fault(Kind.NOT_FOUND, "its code was removed", path=running.path)
    verify(replica, tree, code)
    blob = await _blob(replica, Digest(code.header.root)) if code.header.root else b""
    source = read_code(code, blob)
    if sha256(source).digest() != running.digest:
        raise Fault(
            Kind.CONFLICT,
            "its code is another than the one that was to run",
            path=running.path,
            next_step="run it again: bt run --replace",
        )
    return running, source


async def _blob(replica: Replica, digest: Digest) -> bytes:
    found = await replica.reader.serve([digest])
    if not found.lengths or not found.lengths[0]:
        wanted = {digest: replica.driver.applied}
        await replica.fetcher.fetch(wanted, replica.other_paths()[:_WAIT_PATHS])
        found = await replica.reader.serve([digest])
    if not found.lengths or not found.lengths[0]:
        raise Fault(Kind.UNREACHABLE, "its code is on no node that answers")
    blob = bytes(found.body)
    if digest_of(blob) != digest:
        raise Fault(Kind.DAMAGED, "its code is damaged on this node")
    return blob
