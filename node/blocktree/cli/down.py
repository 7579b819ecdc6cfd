"""`bt down`: stop this machine's mounts and nodes; with --purge, remove a throw-away tree."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import click

from blocktree.cli.asking import confirm_by_name, no_input_option
from blocktree.cli.companions import companions
from blocktree.cli.daemons import Daemon
from blocktree.cli.mounting import stop_mount
from blocktree.cli.output import say
from blocktree.cli.places import Places, here
from blocktree.fault import Fault, Kind


@click.command("down")
@click.option("--purge", is_flag=True, help="Remove the throw-away tree and its files, too.")
@click.option("--yes", metavar="NAME", help="The name of the tree to purge, for scripts.")
@no_input_option
def command(yes: str | None, *, purge: bool, no_input: bool) -> None:
    """Stop this machine's mounts and nodes.

    \b
    Examples:
      bt down
      bt down --purge --yes home
    """  # noqa: D301
    places = here()
    if purge:
        _confirm(places, yes, no_input=no_input)
    for companion in companions():
        companion.stop(places)
    for mount in places.mounts():
        stop_mount(mount)
    nodes = places.nodes()
    with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as together:
        stopped = sum(together.map(Daemon.stop, nodes))
    say(f"Stopped {stopped} of {len(nodes)} nodes.")
    if purge:
        shutil.rmtree(places.root, ignore_errors=True)
        say(f"Removed {places.root}.")


def _confirm(places: Places, yes: str | None, *, no_input: bool) -> None:
    for place in places.trees():
        if not place.is_throwaway():
            raise Fault(
                Kind.DENIED,
                "is not a throw-away tree: its keys are not removed by a command",
                path=f"/{place.alias}",
                next_step=f"if you mean it, remove {places.root} yourself",
            )
        if yes is None and no_input:
            raise Fault(Kind.USAGE, f"confirm with --yes={place.alias}")
        question = f"Remove the tree /{place.alias} and everything in it?"
        confirm_by_name(place.alias, question, given=yes, no_input=no_input)
