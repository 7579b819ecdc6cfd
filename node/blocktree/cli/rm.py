"""`bt rm`: remove files, and with -r whole directories, from a tree."""

import asyncio
from dataclasses import dataclass

import click

from blocktree.cli.asking import address_option, confirm_by_name, no_input_option
from blocktree.cli.output import size_text
from blocktree.cli.places import here
from blocktree.cli.session import Session, each, interruptible, run, together
from blocktree.cli.treepaths import TreePath, parse_tree_path, printable
from blocktree.cli.trees import Found, find, listing
from blocktree.fault import Fault, Kind
from blocktree.files.removal import Removals
from blocktree.files.service import Filesystem
from blocktree.files.volume import NodeKind, Volume

_AT_ONCE = 16  # directories listed or emptied
_BATCH = 256  # directories looked into together


@dataclass(slots=True)
class Extent:
    """How much is below a directory."""

    files: int = 0
    directories: int = 0
    size: int = 0

    def __str__(self) -> str:
        files = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        inner = f" in {self.directories:,} directories" if self.directories > 1 else ""
        return f"{files}{inner}, {size_text(self.size)}"


@click.command("rm")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("-r", "-R", "recursive", is_flag=True, help="Remove directories with all in them.")
@click.option(
    "--yes",
    "names",
    multiple=True,
    metavar="NAME",
    help="The name of a directory to remove, instead of typing it. May be given several times.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@no_input_option
@address_option
def command(
    paths: tuple[str, ...],
    names: tuple[str, ...],
    addresses: tuple[str, ...],
    *,
    recursive: bool,
    dry_run: bool,
    no_input: bool,
) -> int:
    """Remove files and links; with -r, directories and everything in them.

    A directory that is not empty is removed only after its name was typed, or given by --yes.

    \b
    Examples:
      bt rm /home/draft.txt
      bt rm -r /home/photos/2019
      bt rm -r --yes 2019 /home/photos/2019        in scripts
      bt rm -r --dry-run /home/photos/2019
    """  # noqa: D301
    places = here()
    wanted = [parse_tree_path(path, places) for path in paths]

    async def work(session: Session) -> int:
        async def one(path: TreePath) -> None:
            files = (await session.tree(path.place)).files
            found = await find(files, path, follow=False)
            _check(found, path, recursive=recursive)
            name = printable(path.leaf)
            if dry_run or name not in names:
                extent = await measure(files, found)
                if dry_run:
                    click.echo(f"{path}  {extent}" if found.is_directory else str(path))
                    return
                if extent.files or extent.directories > 1:
                    question = f"Remove {path} with everything in it ({extent})?"
                    given = names[0] if names else None
                    with interruptible():
                        confirm_by_name(name, question, given=given, no_input=no_input)
            if not found.is_directory:
                await files.unlink(found.above[-1], found.name)
                return
            await Removal(files).empty(found.ino)
            await files.rmdir(found.above[-1], found.name)

        return await each(wanted, one)

    return run(work, addresses)


def _check(found: Found, path: TreePath, *, recursive: bool) -> None:
    if not found.above:
        raise Fault(
            Kind.USAGE,
            "is the tree itself, which is not removed by a command",
            next_step=f"remove what is in it: bt ls {path}",
        )
    if found.is_directory and not recursive:
        raise Fault(
            Kind.IS_DIRECTORY, "is a directory", next_step=f"with all in it: bt rm -r {path}"
        )


async def measure(files: Volume, found: Found) -> Extent:
    """How much is in a directory, and below; nothing for a file."""
    extent = Extent()
    pending = [found.ino] if found.is_directory else []
    while pending:
        extent.directories += 1
        for entry in await listing(files, pending.pop(), attributes=True):
            if entry.kind is NodeKind.DIRECTORY:
                files.remember(entry.ino)
                pending.append(entry.ino)
            else:
                extent.files += 1
                extent.size += entry.attributes.size if entry.attributes else 0
    return extent


class Removal:
    """Removes what is below a directory before the directory itself, many names at a time.

    What somebody else puts there meanwhile is not removed: the directory then stays (NOT_EMPTY).
    """

    def __init__(self, files: Filesystem) -> None:
        self._files = files
        self._removals = Removals(files.core, files.names)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def empty(self, directory: int) -> None:
        """Remove everything in a directory.

        Raises:
            Fault: NOT_EMPTY, DENIED.
        """
        async with self._slots:
            entries = await listing(self._files, directory, attributes=True)
        inner = [entry.ino for entry in entries if entry.kind is NodeKind.DIRECTORY]
        for start in range(0, len(inner), _BATCH):
            some = inner[start : start + _BATCH]
            for ino in some:
                self._files.remember(ino)
            await together(self.empty(ino) for ino in some)
        async with self._slots:
            node = self._files.core.nodes.at(directory)
            await self._removals.remove(node, (entry.name for entry in entries))
