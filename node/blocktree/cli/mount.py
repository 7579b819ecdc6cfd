"""`bt mount`: put a tree on a directory of this machine."""

from pathlib import Path

import click

from blocktree.cli.asking import address_option
from blocktree.cli.mounting import Settings, start_mount
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.cli.reports import find_tree
from blocktree.fault import Fault, Kind
from blocktree.names import components


@click.command("mount")
@click.argument("path")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--fast-close",
    is_flag=True,
    help="Closing a new file does not wait until the nodes have it; fsync still does.",
)
@address_option
def command(path: str, directory: Path, addresses: tuple[str, ...], *, fast_close: bool) -> None:
    """Mount the tree PATH on DIRECTORY, and return when files can be used.

    \b
    Examples:
      bt mount /home ~/home
      bt mount /home /mnt/home --addr 192.168.1.41:7400

    DIRECTORY must exist and be empty. Unmount with: bt umount DIRECTORY

    A file that is closed is durable on a majority of the nodes. With --fast-close a new file is
    committed in the background within moments, which copies many small files much faster, above
    all to nodes on SD cards; if this machine dies in these moments, the newest files are lost.
    Other machines see every closed file at once either way.
    """  # noqa: D301
    if len(components(here().aliases().resolve(path))) != 1:
        raise Fault(
            Kind.UNSUPPORTED,
            "only a whole tree can be mounted",
            path=path,
            next_step=f"bt mount /{path.split('/')[1]} {directory}",
        )
    place = find_tree(path)
    point = directory.absolute()
    daemon = here().mount(point)
    if daemon.pid() is not None:
        raise Fault(
            Kind.IN_USE,
            f"{path} or another tree is mounted there already",
            path=str(point),
            next_step=f"bt umount {point}",
        )
    start_mount(daemon, Settings(str(place.folder), str(point), addresses, fast_close))
    say(f"/{place.alias} is on {point}. Unmount with: bt umount {directory}")
