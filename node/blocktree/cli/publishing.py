"""Tells the nodes which directories paths mean, so that rights there count for actors below."""

from blocktree.cli.actorpaths import tree_path
from blocktree.cli.session import OpenTree
from blocktree.cli.treepaths import TreePath
from blocktree.cli.trees import find_directory
from blocktree.fault import Fault, Kind
from blocktree.store.place_messages import Published, PublishPlace

_SECONDS = 10.0


async def publish(tree: OpenTree, where: TreePath) -> None:
    """Name a directory and those above it in public, as far as this user may.

    Raises:
        Fault: DENIED without WRITE in the directory above it, CONTRACT if that is not public.
    """
    refused: Fault | None = None
    for count in range(1, len(where.names) + 1):
        step = TreePath(where.place, where.names[:count])
        found = await find_directory(tree.files, step)
        message = PublishPlace(tree_path(step), await tree.files.file_of(found.ino))
        try:
            await tree.client.paths.service.ask(message, Published, patience_s=_SECONDS)
            refused = None
        except Fault as fault:  # one above may be public already, by whoever may write there
            if fault.kind not in (Kind.DENIED, Kind.CONTRACT):
                raise
            refused = fault
    if refused is not None:
        raise refused
