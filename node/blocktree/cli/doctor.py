"""`bt doctor`: check this machine for what commonly goes wrong."""

import textwrap
from collections.abc import Sequence

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.finding import Check, Finding, Level, examine
from blocktree.cli.machinechecks import clock, fuse, memory, packages, python
from blocktree.cli.networkchecks import multicast, reach
from blocktree.cli.output import print_json
from blocktree.cli.places import here
from blocktree.cli.statechecks import is_ours, keys, mounts, nodes, port, state

_MARKS = {Level.PROBLEM: "!", Level.NOTE: "~", Level.OK: " "}
_COLOURS = {Level.PROBLEM: "red", Level.NOTE: "yellow", Level.OK: "green"}
_WIDTH = 100


@click.command("doctor")
@address_option
@json_option
def command(addresses: tuple[str, ...], *, as_json: bool) -> int:
    """Check this machine for what commonly goes wrong; problems first, each with its next step.

    \b
    Examples:
      bt doctor
      bt doctor --addr 192.168.1.41:7401
      bt doctor --json | jq -r '.checks[] | select(.level == "problem") | .what'

    Nothing is changed. Exit code 1 if there is a problem.
    """  # noqa: D301
    places = here()
    checks: list[tuple[str, Check]] = [
        ("python", python),
        ("packages", packages),
        ("fuse", fuse),
        ("memory", memory),
        ("state", lambda: state(places)),
        ("mdns", multicast),
    ]
    if is_ours(places):
        checks += [
            ("clock", lambda: clock(places)),
            ("keys", lambda: keys(places)),
            ("port", lambda: port(places)),
            ("node", lambda: nodes(places)),
            ("mount", lambda: mounts(places)),
            ("tree", lambda: reach(places, addresses)),
        ]
    findings = examine(checks)
    problems = [finding for finding in findings if finding.level is Level.PROBLEM]
    if as_json:
        _print_json(findings, sound=not problems)
    else:
        _print(findings, len(problems))
    return 1 if problems else 0


def _print_json(findings: Sequence[Finding], *, sound: bool) -> None:
    checks = [
        {"check": f.subject, "level": f.level.name.lower(), "what": f.what, "next": f.next_step}
        for f in findings
    ]
    print_json("doctor", {"ok": sound, "checks": checks})


def _print(findings: Sequence[Finding], problems: int) -> None:
    word = f"{problems} problem{'' if problems == 1 else 's'}" if problems else "No problems"
    click.echo(click.style(word, fg="red" if problems else "green", bold=True))
    for finding in findings:
        mark = click.style(_MARKS[finding.level], fg=_COLOURS[finding.level], bold=True)
        first, *rest = textwrap.wrap(finding.what, _WIDTH - 13) or [""]
        click.echo(f"{mark} {finding.subject:<10} {first}")
        for line in rest:
            click.echo(" " * 13 + line)
        if finding.next_step:
            click.echo(f"{'':13}next: {finding.next_step}")
