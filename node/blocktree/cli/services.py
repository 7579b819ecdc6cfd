"""`bt services`: who answers where in a tree."""

import click

from blocktree.cli.actorpaths import tree_path
from blocktree.cli.asking import address_option, json_option
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import TreePlace, here
from blocktree.cli.session import Session, run
from blocktree.cli.treepaths import parse_tree_path
from blocktree.store.place_messages import LISTED_MAX, ListProviders, Provider, Providers

_SECONDS = 10.0


@click.command("services")
@click.argument("path", metavar="[PATH]", required=False)
@click.option("--find", "name", metavar="NAME", help="Only who is found by this name from PATH up.")
@json_option
@address_option
def command(
    path: str | None, name: str | None, addresses: tuple[str, ...], *, as_json: bool
) -> None:
    """List who answers at paths of the tree: services, devices, and other actors.

    A name is looked up from PATH upwards, in the nearest directory that has it; several who
    answer at one path are listed nearest first.

    \b
    Examples:
      bt services
      bt services /home/sensors
      bt services /home/kitchen --find services/printer
    """  # noqa: D301
    places = here()
    where = parse_tree_path(path or f"/{places.only_tree().alias}", places)

    async def work(session: Session) -> list[Provider]:
        tree = await session.tree(where.place)
        paths = tree.client.paths
        if name is not None:
            return list(await paths.resolver.find(name, tree_path(where)))
        found: list[Provider] = []
        after = ""
        while True:
            message = ListProviders(tree_path(where), after)
            some = (await paths.service.ask(message, Providers, patience_s=_SECONDS)).providers
            found += some
            if len(some) < LISTED_MAX:
                return found
            after = some[-1].path

    found = run(work, addresses, leaderless=name is None)
    _print(found, where.place, as_json=as_json)


def _print(found: list[Provider], place: TreePlace, *, as_json: bool) -> None:
    shown = place.shown
    if as_json:
        listed = [
            {
                "path": shown(each.path),
                "process": shown(each.process),
                "actor": each.actor,
                "alone": bool(each.epoch),
                "epoch": each.epoch,
            }
            for each in found
        ]
        print_json("services", {"services": listed})
        return
    if not found:
        say("Nobody answers there. Run something: bt run FILE.py:Class --at /home/services/name")
        return
    print_table(
        ("PATH", "PROCESS", "ALONE"),
        [(shown(each.path), shown(each.process), "yes" if each.epoch else "") for each in found],
    )
