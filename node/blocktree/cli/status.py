"""`bt status`: how the tree is, problems first."""

import sys
from dataclasses import dataclass

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.exits import exit_code
from blocktree.cli.output import print_json, print_table, size_text
from blocktree.cli.reports import Report, gather, node_report
from blocktree.fault import Fault, Kind
from blocktree.store.messages import Status

_COLUMNS = ("path", "role", "applied", "used", "sync", "scrub")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it."""

    what: str
    next_step: str = ""


@click.command("status")
@click.argument("tree", default="")
@address_option
@json_option
def command(tree: str, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """Say how the tree is: problems first, each with the command that helps.

    \b
    Examples:
      bt status
      bt status /home --json

    Exit code 0 if all is well or one more loss can be borne, 6 without a quorum.
    """  # noqa: D301
    report = gather(tree, addresses)
    found = problems(report)
    here, all_voters = report.voters
    quorum = report.leader is not None
    word = "OK" if not found else "DEGRADED" if quorum else "NO QUORUM"
    rows = [node_report(report, path, status) for path, status in report.statuses]
    if as_json:
        print_json(
            "status",
            {
                "tree": report.tree,
                "state": word.lower().replace(" ", "_"),
                "voters": all_voters,
                "voters_here": here,
                "problems": [{"what": p.what, "next": p.next_step} for p in found],
                "nodes": rows,
            },
        )
    else:
        _print(report, word, found, rows)
    if not quorum:
        sys.exit(exit_code(Kind.NO_QUORUM))


def problems(report: Report) -> list[Problem]:
    """Everything that is wrong, worst first."""
    found = []
    here, all_voters = report.voters
    if report.leader is None:
        found.append(
            Problem(
                f"no leader: {here} of {all_voters} voters answer; nothing can be written or read",
                "start the others: bt up, on their machines",
            )
        )
    for path, status in report.statuses:
        shown = report.aliases.display(path)
        if isinstance(status, Fault):
            name = shown.rpartition("/")[2]
            start = f"bt sim start {name}" if report.place.is_throwaway() else "bt up, there"
            why = "" if status.kind is Kind.UNREACHABLE else f": {status.what}"
            found.append(Problem(f"{shown} does not answer{why}", start))
        else:
            found += [Problem(f"{shown}: {fault}") for fault in status.faults]
    if report.leader is not None and all_voters < 3:
        found.append(
            Problem(
                f"only {all_voters} of the 3 voters that keep files safe",
                f"bt node invite {report.tree}/NAME",
            )
        )
    return found


def _print(report: Report, word: str, found: list[Problem], rows: list[dict[str, object]]) -> None:
    here, all_voters = report.voters
    colour = {"OK": "green", "DEGRADED": "yellow"}.get(word, "red")
    click.echo(
        f"{click.style(word, fg=colour, bold=True)}  {report.tree}  "
        f"{here} of {all_voters} voters{_margin(report)}{_room(report.leader)}"
    )
    for problem in found:
        click.echo(f"  ! {problem.what}")
        if problem.next_step:
            click.echo(f"      next: {problem.next_step}")
    print_table(
        ("NODE", "ROLE", "APPLIED", "USED", "SYNC", "SCRUBBED"),
        [[str(row[key]) for key in _COLUMNS] for row in rows],
    )


def _margin(report: Report) -> str:
    here, all_voters = report.voters
    spare = here - (all_voters // 2 + 1)
    if report.leader is None or spare < 0:
        return ""
    return f", {spare} may fail" if spare else ", none may fail"


def _room(leader: Status | None) -> str:
    if leader is None:
        return ""
    return f", {size_text(leader.bytes_free)} free of {size_text(leader.bytes_total)}"
