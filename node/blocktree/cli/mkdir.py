"""`bt mkdir`: make directories in a tree."""

import click

from blocktree.cli.asking import address_option
from blocktree.cli.places import here
from blocktree.cli.session import Session, each, run
from blocktree.cli.treefolder import new_permissions
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.cli.trees import find, find_directory
from blocktree.fault import Fault, Kind
from blocktree.files.volume import Volume


@click.command("mkdir")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("-p", "parents", is_flag=True, help="Make the directories above, too.")
@address_option
def command(paths: tuple[str, ...], addresses: tuple[str, ...], *, parents: bool) -> int:
    """Make directories. With -p it is no fault if they exist.

    \b
    Examples:
      bt mkdir /home/photos
      bt mkdir -p /home/photos/2026/november
    """  # noqa: D301
    places = here()
    wanted = [parse_tree_path(path, places) for path in paths]

    async def work(session: Session) -> int:
        async def one(path: TreePath) -> None:
            files = (await session.tree(path.place)).files
            await (make_all(files, path) if parents else make(files, path))

        return await each(wanted, one)

    return run(work, addresses)


async def make(files: Volume, path: TreePath) -> None:
    """Make one directory.

    Raises:
        Fault: EXISTS; NOT_FOUND if the directory above does not exist.
    """
    if not path.names:
        raise Fault(Kind.EXISTS, "exists: it is the tree itself")
    above = await find_directory(files, path.parent)
    try:
        await files.mkdir(above.ino, path.leaf, new_permissions(0o777))
    except Fault as fault:
        if fault.kind is Kind.EXISTS:
            fault.what = "exists already"
        raise


async def make_all(files: Volume, path: TreePath) -> None:
    """Make a directory and those above it, as far as they are not there.

    Raises:
        Fault: NOT_DIRECTORY for a file in the way.
    """
    for count in range(1, len(path.names) + 1):
        step = TreePath(path.place, path.names[:count])
        try:
            await make(files, step)
        except Fault as fault:
            if fault.kind is not Kind.EXISTS:
                raise
            if not (await find(files, step)).is_directory:
                raise Fault(Kind.NOT_DIRECTORY, f"{step} is not a directory") from None
