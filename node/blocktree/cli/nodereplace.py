"""`bt node replace`: another machine takes a node's place, with no copy missing meanwhile."""

import asyncio
import sys
import time
from pathlib import Path as FilePath

import click

from blocktree.cli.asking import address_option, confirm_by_name, owner_options
from blocktree.cli.node import issue_ticket
from blocktree.cli.nodeplan import Plan, check_plan, find_node, plan_removal
from blocktree.cli.noderemove import remove_node
from blocktree.cli.output import print_table, say
from blocktree.cli.owner import open_owner
from blocktree.cli.reports import Report, gather
from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, encode_ticket
from blocktree.names import Path, join, leaf, parent
from blocktree.store.messages import Role, Status

_POLL_SECONDS = 1.0
_NEAR = 64  # entries
_VOTERS_MAX = 5


@click.command("replace")
@click.argument("node", metavar="OLD")
@click.option("--with", "new", required=True, metavar="NEW", help="Name of the machine to come.")
@click.option("--yes", metavar="OLD", help="The name of the old node, instead of typing it.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--wait", default=3600, show_default=True, help="Seconds to wait for NEW.")
@address_option
@owner_options
def command(
    *,
    node: str,
    new: str,
    yes: str | None,
    wait: int,
    addresses: tuple[str, ...],
    passphrase_file: FilePath | None,
    dry_run: bool,
    no_input: bool,
) -> None:
    """Replace node OLD by a new machine, and print the ticket with which that one joins.

    While OLD lives it is removed only when NEW has everything, so that no copy is missing; a dead
    OLD is removed at once. If this is interrupted, run it again: it goes on where it was.

    \b
    Examples:
      bt node replace pi-2 --with pi-4 --dry-run
      bt node replace pi-2 --with pi-4 | ssh pi-4 bt node join -
    """  # noqa: D301
    report = gather(node.split("/")[1] if node.startswith("/") else "", addresses)
    plan = plan_removal(report, find_node(report, node))
    target = join(parent(plan.path), leaf(report.aliases.resolve(new)) if "/" in new else new)
    known = any(path == target for path, _ in report.statuses)
    if target == plan.path and plan.alive:
        raise Fault(
            Kind.USAGE,
            "lives: the new machine needs a name of its own",
            path=plan.shown,
            next_step=f"bt node replace {plan.name} --with ANOTHER",
        )
    if dry_run:
        _tell(plan, report.aliases.display(target), known=known)
        return
    if not plan.alive:
        check_plan(plan, force=False)
    question = f"Replace {plan.shown} ({plan.role}) by {report.aliases.display(target)}?"
    confirm_by_name(plan.name, question, given=yes, no_input=no_input)
    owner = open_owner(report.place, passphrase_file, no_input=no_input)
    if not plan.alive:
        asyncio.run(remove_node(report.place, owner, plan.path, addresses))
        say(f"{plan.shown} did not answer and was removed. Now {plan.after}.")
    if not known or target == plan.path:
        _print_ticket(report, owner, target, addresses)
    if plan.alive:
        _wait_complete(target, wait, addresses, report)
        asyncio.run(remove_node(report.place, owner, plan.path, addresses))
        say(f"{plan.shown} was replaced by {report.aliases.display(target)} and removed.")


def _tell(plan: Plan, new: str, *, known: bool) -> None:
    joins = ("joins", f"{new}" if not known else f"{new} (has joined)")
    leaves = ("removes", f"{plan.shown} ({plan.role})")
    when = "once the new one has everything" if plan.alive else "at once, as it does not answer"
    steps = [joins, leaves] if plan.alive else [leaves, joins]
    rows = [*steps, ("when", when), ("now", str(plan.before))]
    if not plan.alive:
        rows.append(("meanwhile", str(plan.after)))
    print_table(("DRY RUN", "NOTHING IS CHANGED"), rows)


def _print_ticket(
    report: Report, owner: Credential, target: Path, addresses: tuple[str, ...]
) -> None:
    ticket = issue_ticket(report.place, owner, target, addresses=addresses)
    say("A ticket for the new machine: one use, good for 7 days. There, run")
    say("    bt node join TICKET")
    click.echo(encode_ticket(ticket))
    sys.stdout.flush()  # a pipe's reader goes on while we wait


def _wait_complete(target: Path, seconds: int, addresses: tuple[str, ...], report: Report) -> None:
    """Wait until the new node has everything and votes, if there is room for its vote.

    Raises:
        Fault: UNREACHABLE when the time is over; nothing was removed then.
    """
    shown = report.aliases.display(target)
    say(f"Waiting until {shown} has everything …")
    deadline = time.monotonic() + seconds
    while not _complete(gather(report.tree, addresses), target):
        if time.monotonic() > deadline:
            raise Fault(
                Kind.UNREACHABLE,
                "has not joined yet or is not complete; nothing was removed",
                path=shown,
                next_step="run the same command again when it has joined",
            )
        time.sleep(_POLL_SECONDS)


def _complete(report: Report, target: Path) -> bool:
    status = dict(report.statuses).get(target)
    leader = report.leader
    if not isinstance(status, Status) or leader is None or status.missing:
        return False
    votes = status.role is not Role.LEARNER or report.voters[1] >= _VOTERS_MAX
    return votes and status.applied + _NEAR >= leader.committed
