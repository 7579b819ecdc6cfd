"""`bt scrub`: have nodes read all that they keep, and repair what has rotted, now."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.exits import exit_code
from blocktree.cli.nodeplan import find_node
from blocktree.cli.output import print_json, print_table, size_text
from blocktree.cli.places import TreePlace
from blocktree.cli.progress import Progress, progress
from blocktree.cli.reports import Report, ago_text, gather
from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path
from blocktree.store.messages import STORE_ACTOR
from blocktree.store.scrub_messages import Phase, Scrub, Scrubbing

_POLL_SECONDS = 0.2
_ASK_SECONDS = 5.0
Outcome = Scrubbing | Fault


@click.command("scrub")
@click.argument("node", default="", metavar="[NODE]")
@click.option("--status", "only_look", is_flag=True, help="Only say how the last one went.")
@address_option
@json_option
def command(node: str, addresses: tuple[str, ...], *, only_look: bool, as_json: bool) -> None:
    """Read everything that a node keeps (all nodes, unless one is named) and check it.

    Nodes do this by themselves, slowly, once a week. What is damaged is fetched again from the
    other nodes; the tree can be used meanwhile. Interrupting only stops the watching.

    \b
    Examples:
      bt scrub
      bt scrub pi-2
      bt scrub --status --json

    Exit code 0 if all is sound or was repaired, 4 if something damaged is left.
    """  # noqa: D301
    tree = node.split("/")[1] if node.startswith("/") else ""
    report = gather(tree, addresses)
    paths = [find_node(report, node)] if node else [path for path, _ in report.statuses]
    outcomes = asyncio.run(_scrub(report.place, paths, addresses, begin=not only_look))
    rows = list(zip(paths, outcomes, strict=True))
    if as_json:
        nodes = [_node_json(report, path, outcome) for path, outcome in rows]
        print_json("scrub", {"tree": report.tree, "nodes": nodes})
    else:
        _print(report, rows)
    if any(isinstance(outcome, Scrubbing) and outcome.left for outcome in outcomes):
        sys.exit(exit_code(Kind.DAMAGED))
    if any(isinstance(outcome, Fault) for outcome in outcomes):
        sys.exit(exit_code(Kind.UNREACHABLE))


async def _scrub(
    place: TreePlace, paths: Sequence[Path], addresses: Sequence[str], *, begin: bool
) -> list[Outcome]:
    client = Client(place.user(), seeds=[*addresses, *place.seeds()])
    try:
        await client.start()
        with progress("Scrubbing") as bar:
            work = [_scrub_node(client, path, bar, begin=begin) for path in paths]
            return list(await asyncio.gather(*work))
    finally:
        await client.close()


async def _scrub_node(client: Client, path: Path, bar: Progress, *, begin: bool) -> Outcome:
    """Begin, and watch until the round has ended."""

    async def ask(*, begin: bool) -> Scrubbing:
        to = Address(path, STORE_ACTOR)
        return await client.runtime.ask(to, Scrub(begin), Scrubbing, timeout=_ASK_SECONDS)

    try:
        seen = await ask(begin=begin)
        bar.found(seen.bytes_all)
        done = 0
        while begin and seen.phase is not Phase.IDLE:
            bar.moved(max(0, seen.bytes_read - done))
            done = max(done, seen.bytes_read)
            await asyncio.sleep(_POLL_SECONDS)
            seen = await ask(begin=False)
    except Fault as fault:
        return fault
    bar.finished()
    return seen


def _print(report: Report, rows: Sequence[tuple[Path, Outcome]]) -> None:
    print_table(
        ("NODE", "READ", "BLOBS", "ENTRIES", "ROWS", "FOUND", "LEFT", "COMPLETE"),
        [_cells(report.aliases.display(path), outcome) for path, outcome in rows],
    )
    for path, outcome in rows:
        if isinstance(outcome, Scrubbing):
            for finding in outcome.findings:
                click.echo(f"  ! {report.aliases.display(path)}: {finding}")


def _cells(shown: str, outcome: Outcome) -> list[str]:
    if isinstance(outcome, Fault):
        return [shown, "", "", "", "", "", "", outcome.what]
    counts = (outcome.blobs, outcome.entries, outcome.rows, outcome.found, outcome.left)
    when = ago_text(outcome.ended) if outcome.phase is Phase.IDLE else "under way"
    return [shown, size_text(outcome.bytes_read), *map(str, counts), when]


def _node_json(report: Report, path: Path, outcome: Outcome) -> dict[str, Any]:
    shown = report.aliases.display(path)
    if isinstance(outcome, Fault):
        return {"path": shown, "fault": outcome.what}
    return {
        "path": shown,
        "phase": outcome.phase.name.lower(),
        "bytes_read": outcome.bytes_read,
        "bytes_all": outcome.bytes_all,
        "blobs": outcome.blobs,
        "entries": outcome.entries,
        "rows": outcome.rows,
        "found": outcome.found,
        "repaired": outcome.repaired,
        "left": outcome.left,
        "began": outcome.began,
        "ended": outcome.ended,
        "findings": list(outcome.findings),
    }
