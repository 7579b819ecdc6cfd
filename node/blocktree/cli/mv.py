"""`bt mv`: move or rename within a tree, atomically."""

import click

from blocktree.cli.asking import address_option
from blocktree.cli.places import here
from blocktree.cli.session import Session, each, run
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.cli.trees import find, find_directory, find_if_there
from blocktree.fault import Fault, Kind
from blocktree.files.volume import RenameFlag, Volume


@click.command("mv")
@click.argument("paths", nargs=-1, required=True, metavar="SOURCE... TARGET")
@click.option("-n", "--no-replace", is_flag=True, help="Fail if there is a file already.")
@address_option
def command(paths: tuple[str, ...], addresses: tuple[str, ...], *, no_replace: bool) -> int:
    """Move SOURCE to TARGET, or into TARGET if that is a directory.

    A move is one transaction: everybody sees the file at one place or the other, and an existing
    TARGET file is replaced in the same moment. Several sources are moved one after the other.

    \b
    Examples:
      bt mv /home/draft.txt /home/letters/2026-11-20.txt
      bt mv /home/a.jpg /home/b.jpg /home/photos/
    """  # noqa: D301
    if len(paths) < 2:
        raise click.UsageError("mv needs a SOURCE and a TARGET")
    places = here()
    *sources, target = [parse_tree_path(path, places) for path in paths]
    for source in sources:
        _check(source, target)
    flag = RenameFlag.NOREPLACE if no_replace else RenameFlag.REPLACE

    async def work(session: Session) -> int:
        files = (await session.tree(target.place)).files

        async def one(source: TreePath) -> None:
            await move(files, source, target, flag, several=len(sources) > 1)

        return await each(sources, one)

    return run(work, addresses)


async def move(
    files: Volume, source: TreePath, target: TreePath, flag: RenameFlag, *, several: bool
) -> None:
    """Move one file or directory to `target`, or into it.

    Raises:
        Fault: NOT_FOUND, EXISTS (with NOREPLACE), NOT_DIRECTORY, IS_DIRECTORY, NOT_EMPTY.
    """
    found = await find(files, source, follow=False)
    there = await find_if_there(files, target)
    if there is not None and there.is_directory:
        directory, name = there.ino, source.leaf
    elif several or (target.inside and not found.is_directory):
        raise Fault(Kind.NOT_DIRECTORY, f"not moved: {target} is not a directory")
    else:
        directory, name = (await find_directory(files, target.parent)).ino, target.leaf
    try:
        await files.rename(found.above[-1], found.name, directory, name, flag)
    except Fault as fault:
        if fault.kind is Kind.EXISTS:
            fault.what = f"not moved: {target} exists"
        raise


def _check(source: TreePath, target: TreePath) -> None:
    """Refuse what no tree can do."""
    if source.place != target.place:
        raise Fault(
            Kind.UNSUPPORTED,
            "a file cannot move to another tree: its keys belong to this one",
            path=str(source),
            next_step=f"bt cp -r {source} {target}",
        )
    if not source.names:
        raise Fault(Kind.USAGE, "a tree itself cannot be moved", path=str(source))
    if target.names[: len(source.names)] == source.names and source.names != target.names:
        raise Fault(Kind.USAGE, "a directory cannot be moved into itself", path=str(source))
