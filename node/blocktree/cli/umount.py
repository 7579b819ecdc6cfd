"""`bt umount`: commit what is written and take a tree off its directory."""

from pathlib import Path

import click

from blocktree.cli.mounting import stop_mount
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.fault import Fault, Kind


@click.command("umount")
@click.argument("directory", type=click.Path(path_type=Path))
def command(directory: Path) -> None:
    """Unmount the tree that is on DIRECTORY; everything written is committed first.

    \b
    Example:
      bt umount ~/home
    """  # noqa: D301
    point = directory.absolute()
    if not stop_mount(here().mount(point)):
        raise Fault(Kind.NOT_FOUND, "no tree is mounted there", path=str(point))
    say(f"Unmounted {point}.")
