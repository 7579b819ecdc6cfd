"""`bt node remove`: end a node's belonging, whether it lives or not."""

import asyncio
import time
from pathlib import Path as FilePath

import click

from blocktree.cli.asking import (
    address_option,
    confirm_by_name,
    json_option,
    owner_options,
)
from blocktree.cli.nodeplan import Plan, check_plan, find_node, plan_removal
from blocktree.cli.output import duration_text, print_json, print_table, say
from blocktree.cli.owner import in_person, open_owner
from blocktree.cli.places import TreePlace, here
from blocktree.cli.reports import gather
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, MemberKind
from blocktree.names import Path
from blocktree.store.messages import Remove, Removed


@click.command("remove")
@click.argument("node", metavar="NAME|PATH")
@click.option("--yes", metavar="NAME", help="The name of the node, instead of typing it.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--force", is_flag=True, help="Also if too few voters would be left to decide.")
@address_option
@owner_options
@json_option
def command(
    node: str,
    yes: str | None,
    addresses: tuple[str, ...],
    passphrase_file: FilePath | None,
    *,
    dry_run: bool,
    force: bool,
    no_input: bool,
    as_json: bool,
) -> None:
    """Remove a node from the tree: it is refused by everybody at once.

    It may be dead: one command, and a quorum of the voters that are left decides. What it stored is
    on the others already; its own state directory stays on its disk, useless.

    \b
    Examples:
      bt node remove pi-3 --dry-run
      bt node remove /home/pi-3
      bt node remove pi-3 --yes pi-3 --passphrase-file FILE      in scripts
    """  # noqa: D301
    tree = node.split("/")[1] if node.startswith("/") else ""
    report = gather(tree, addresses)
    plan = plan_removal(report, find_node(report, node))
    if not dry_run:
        check_plan(plan, force=force)
        question = f"Remove {plan.shown}? Then {plan.after}."
        confirm_by_name(plan.name, question, given=yes, no_input=no_input)
        owner = open_owner(report.place, passphrase_file, no_input=no_input)
        begun = time.monotonic()
        asyncio.run(remove_node(report.place, owner, plan.path, addresses))
        say(f"{plan.shown} was removed ({duration_text(time.monotonic() - begun)}).")
        _say_what_is_left(plan)
    if as_json:
        print_json("node.remove", {"done": not dry_run, **plan_json(plan)})
    elif dry_run:
        print_table(("DRY RUN", "NOTHING IS CHANGED"), plan.rows())
        check_plan(plan, force=force)


def plan_json(plan: Plan) -> dict[str, object]:
    """A plan for programs."""
    voters = {
        when: {"all": voters.all, "live": voters.live, "may_fail": voters.spare}
        for when, voters in (("before", plan.before), ("after", plan.after))
    }
    return {"node": plan.shown, "role": plan.role, **voters}


async def remove_node(
    place: TreePlace, owner: Credential, path: Path, addresses: tuple[str, ...]
) -> None:
    """Have the leader remove the node at `path`, in the owner's name.

    Raises:
        Fault: NOT_FOUND if no node is there; as `Remove`.
    """
    async with in_person(place, owner, addresses) as (client, service):
        nodes = {m.path: m for m in client.members if m.kind is MemberKind.NODE}
        if path not in nodes:
            raise Fault(Kind.NOT_FOUND, "no such node", path=path)
        await service.ask(Remove(nodes[path].principal), Removed)


def _say_what_is_left(plan: Plan) -> None:
    folder = here().node(plan.name).folder
    say(f"Now {plan.after}.")
    if folder.exists():
        say(f"Its state directory is left on this machine: {folder}")
    elif not plan.alive:
        say("If its machine comes back, it says that it was removed and stops.")
