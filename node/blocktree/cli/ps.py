"""`bt ps`: which actors the tree runs, where, and how they are."""

import asyncio

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.cli.session import OpenTree, Session, run
from blocktree.fault import Fault
from blocktree.names import Address, Path
from blocktree.services.run_messages import SERVICES_ACTOR, GetWards, Wards, WardStatus
from blocktree.store.place_messages import ListRunning, Run, RunList

_SECONDS = 10.0
_NODE_SECONDS = 3.0


@click.command("ps")
@click.argument("tree", metavar="[TREE]", required=False)
@json_option
@address_option
def command(tree: str | None, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """List the actors that the tree is to run, and how they are.

    \b
    Examples:
      bt ps
      bt ps home --json
    """  # noqa: D301
    places = here()
    place = places.tree_place(tree.strip("/")) if tree else places.only_tree()

    async def work(session: Session) -> tuple[RunList, dict[str, WardStatus]]:
        opened = await session.tree(place)
        listed = await opened.client.paths.service.ask(ListRunning(), RunList, patience_s=_SECONDS)
        processes = {one.process for one in listed.runs if one.process}
        found = await asyncio.gather(*(_wards(opened, Path(each)) for each in processes))
        return listed, {ward.path: ward for wards in found for ward in wards}

    listed, wards = run(work, addresses)
    rows = []
    for one in listed.runs:
        ward = wards.get(one.path)
        rows.append(
            {
                "path": place.shown(one.path),
                "actor": one.actor,
                "node": one.process.rpartition("/")[2],
                "state": ward.state if ward else _state(one),
                "crashes": ward.crashes if ward else 0,
                "epoch": one.epoch,
            }
        )
    if as_json:
        print_json("ps", {"actors": rows, "faults": list(listed.faults)})
        return
    for fault in listed.faults:
        say(f"! {fault}")
    if not rows:
        say("Nothing is to run. Begin with: bt run FILE.py:Class --at /home/services/name")
        return
    heads = ("PATH", "ACTOR", "NODE", "STATE", "CRASHES", "EPOCH")
    print_table(heads, [[str(row[head.lower()]) for head in heads] for row in rows])


def _state(one: Run) -> str:
    """Of one that no node says it runs."""
    if one.process:
        return "starting"
    return f"waits for {one.on.rpartition('/')[2]}" if one.on else "nowhere"


async def _wards(tree: OpenTree, process: Path) -> tuple[WardStatus, ...]:
    try:
        to = Address(process, SERVICES_ACTOR)
        answer = await tree.client.runtime.ask(to, GetWards(), Wards, timeout=_NODE_SECONDS)
    except Fault:
        return ()
    return answer.wards
