"""Puts an actor into the tree: its code as a public file, beside it what says that it is to run.

Faults, before the happy path: a name that is taken is left alone unless it is to be replaced; what
is no Python is refused before anything is written.
"""

import ast
from hashlib import sha256

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import Permissions
from blocktree.names import Digest, FileId, Path
from blocktree.sectors.header import FileKind
from blocktree.sectors.running import CODE_BYTES_MAX, Running
from blocktree.wire import encode


def check_source(source: bytes, cls: str, name: str) -> None:
    """Refuse what cannot be the code of an actor.

    Raises:
        Fault: USAGE, saying what is wrong; TOO_LARGE.
    """
    if len(source) > CODE_BYTES_MAX:
        raise Fault(Kind.TOO_LARGE, f"{len(source)} bytes of code", path=name)
    try:
        tree = ast.parse(source, name)
    except (SyntaxError, ValueError) as cause:
        raise Fault(Kind.USAGE, f"it is not Python: {cause}", path=name) from None
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if cls not in classes:
        known = ", ".join(classes) or "none"
        raise Fault(Kind.USAGE, f"it has no class {cls}", path=name, next_step=f"it has: {known}")


async def deploy(
    files: Filesystem,
    directory: int,
    path: Path,
    source: bytes,
    cls: str,
    *,
    permissions: Permissions,
    on: str = "",
    only: bool = False,
    replace: bool = False,
) -> None:
    """Write an actor's code and say that it is to run.

    Args:
        files: the tree.
        directory: the inode that holds it.
        path: of the actor, in that directory.
        source: Python.
        cls: the actor's class.
        permissions: of the files.
        on: the node that is to run it while it lives, "": any.
        only: no other may.
        replace: an actor that is there, which keeps its state.

    Raises:
        Fault: EXISTS; what writing raises.
    """
    name = path.rpartition("/")[2].encode()
    code = name + b".py"
    known = await _kind(files, directory, name)
    if known is not None and (known is not FileKind.ACTOR or not replace):
        raise Fault(
            Kind.EXISTS,
            "an actor runs there" if known is FileKind.ACTOR else "the name is taken",
            path=path,
            next_step="replace it, which keeps its state: bt run --replace"
            if known is FileKind.ACTOR
            else "choose another name",
        )
    if known is not None:
        await files.unlink(directory, name)
    if await _kind(files, directory, code) is not None:
        await files.unlink(directory, code)
    made, handle = await files.create_public(directory, code, permissions)
    try:
        await files.write(handle, 0, source)
        await files.flush(handle)
    finally:
        await files.release(handle)
    file, digest = FileId(await files.file_of(made.ino)), Digest(sha256(source).digest())
    running = Running(path, file, digest, cls, on, only)
    await files.make_actor(directory, name, permissions, encode(running))


async def _kind(files: Filesystem, directory: int, name: bytes) -> FileKind | None:
    try:
        found = await files.lookup(directory, name)
    except Fault as fault:
        if fault.kind is Kind.NOT_FOUND:
            return None
        raise
    files.forget(found.ino, 1)
    return found.kind
