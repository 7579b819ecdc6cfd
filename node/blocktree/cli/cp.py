"""`bt cp`: copy files into, out of, within and between trees, without a mount."""

import time

import click

from blocktree.cli.asking import address_option
from blocktree.cli.copying import Copying, Job
from blocktree.cli.ends import End, From, To, find_source, find_target, parse_end
from blocktree.cli.output import duration_text, say, size_text
from blocktree.cli.places import here
from blocktree.cli.progress import progress
from blocktree.cli.session import Session, run, said_of
from blocktree.cli.standardinput import ITEM as STANDARD_INPUT
from blocktree.cli.treepaths import PATHS_HELP, TreePath
from blocktree.fault import Fault, Kind


@click.command(
    "cp",
    help=f"""Copy SOURCE to TARGET, or into TARGET if that is a directory.

    \b
    Examples:
      bt cp photo.jpg /home/photos/
      bt cp -r ~/Pictures /home/photos
      bt cp -r /home/photos/2026 .
      bt cp /home/letter.txt /home/old/letter.txt
      bt cp -r ~/Pictures/. /home/photos      what is in it, not the directory itself
      pg_dump shop | bt cp - /home/backup/shop.sql

    {PATHS_HELP}

    A file that exists is overwritten; in the tree it stays the same file and its older versions
    are kept as history. With -r links are copied as links. A copy that is interrupted leaves no
    half file behind under a new name.
    """,
)
@click.argument("paths", nargs=-1, required=True, metavar="SOURCE... TARGET")
@click.option("-r", "-R", "recursive", is_flag=True, help="Copy directories with all in them.")
@click.option("-p", "keep", is_flag=True, help="Keep permissions and modification times.")
@address_option
def command(
    paths: tuple[str, ...], addresses: tuple[str, ...], *, recursive: bool, keep: bool
) -> int:
    """Copy; the help text is above because it quotes the rule for paths."""
    if len(paths) < 2:
        raise click.UsageError("cp needs a SOURCE and a TARGET")
    places = here()
    *sources, target = [parse_end(path, places) for path in paths]
    if not places.trees():
        raise Fault(Kind.NOT_FOUND, "no tree on this machine yet", next_step="bt init home")
    if not any(isinstance(end.where, TreePath) for end in (*sources, target)):
        raise Fault(
            Kind.USAGE,
            "both are on this machine, none in a tree",
            path=target.text,
            next_step=f"cp {' '.join(paths)}; or see bt cp --help on which path is which",
        )
    begun = time.monotonic()
    with progress("Copying") as shown:

        async def work(session: Session) -> int:
            copying = Copying(shown, keep=keep)
            with said_of(target):
                goal = await find_target(session, target)
            jobs: list[Job] = []
            for source in sources:
                with copying.told(str(source)):
                    found = await find_source(session, source, recursive=recursive)
                    check(found, goal, target, several=len(sources) > 1)
                    jobs += await plan(copying, found, goal)
            await copying.run(jobs)
            return copying.code

        code = run(work, addresses)
    if recursive and not code:
        took = time.monotonic() - begun
        speed = size_text(int(shown.bytes_done / max(took, 1e-3)))
        count = f"{shown.files_done:,} file{'' if shown.files_done == 1 else 's'}"
        say(f"Copied {count}, {size_text(shown.bytes_done)} in {duration_text(took)} ({speed}/s).")
    return code


def check(source: From, goal: To, target: End, *, several: bool) -> None:
    """Refuse what would lose something or never end.

    Raises:
        Fault: NOT_DIRECTORY if the target has to be a directory; USAGE for a file onto itself, or
            a directory into itself.
    """
    into = goal.item is not None and goal.item.is_directory
    fresh_directory = goal.item is None and source.item.is_directory
    if not into and (several or (target.inside and not fresh_directory)):
        raise Fault(Kind.NOT_DIRECTORY, f"not copied: {target} is not a directory")
    if not into and goal.item is not None and source.item.is_directory:
        raise Fault(Kind.NOT_DIRECTORY, f"not copied: {target} is a file")
    if source.item.is_directory and source.item.ino in goal.above:
        raise Fault(Kind.USAGE, "a directory cannot be copied into itself")


async def plan(copying: Copying, source: From, goal: To) -> list[Job]:
    """What is to be done for one source.

    Raises:
        Fault: USAGE if source and target are the same file.
    """
    name = goal.name or source.new_name
    if source.item is STANDARD_INPUT and not goal.name:
        raise Fault(Kind.USAGE, "has no name: give the target one", path="standard input")
    if not source.name:  # a root, or `DIR/.`
        folder = await goal.folder.make(name) if name else goal.folder
        return list(await copying.inside(source.folder, folder))
    there = goal.item if goal.name else await goal.folder.look(name)
    if there is not None and there.ino == source.item.ino and not there.is_directory:
        raise Fault(Kind.USAGE, "source and target are the same file")
    return [Job(source.folder, source.name, source.item, goal.folder, name)]
