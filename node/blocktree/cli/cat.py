"""`bt cat`: write files of a tree to standard output."""

import asyncio
import contextlib
import os
import sys

import click

from blocktree.cli.asking import address_option
from blocktree.cli.places import here
from blocktree.cli.session import Session, each, run
from blocktree.cli.treefolder import read_file
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.cli.trees import find


@click.command("cat")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@address_option
def command(paths: tuple[str, ...], addresses: tuple[str, ...]) -> int:
    """Write files to standard output, one behind the other.

    \b
    Examples:
      bt cat /home/notes/shopping.txt
      bt cat /home/music/song.flac | ffplay -
    """  # noqa: D301
    places = here()
    wanted = [parse_tree_path(path, places) for path in paths]

    async def work(session: Session) -> int:
        async def one(path: TreePath) -> None:
            files = (await session.tree(path.place)).files
            found = await find(files, path)
            async with contextlib.aclosing(read_file(files, found.ino)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(sys.stdout.buffer.write, chunk)
            sys.stdout.buffer.flush()

        return await each(wanted, one)

    try:
        return run(work, addresses)
    except BrokenPipeError:  # the reader has enough: `bt cat … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
