"""`bt sim`: stop, start and list the nodes of a throw-away tree."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from blocktree.cli.asking import json_option
from blocktree.cli.daemons import Daemon
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.cli.reports import gather, node_report
from blocktree.cli.running import ready_port, start_node
from blocktree.fault import Fault, Kind
from blocktree.names import leaf


class _Sims(click.Group):
    """Verbs of this module, and those that packages above register in `blocktree.sim_verbs`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_registered()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is None and (found := _registered().get(cmd_name)):
            own = found.load()
        return own


def _registered() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group="blocktree.sim_verbs")}


@click.group("sim", cls=_Sims)
def command() -> None:
    """Stop, start and list the nodes of a tree made by `bt up --sim`."""


@command.command("kill")
@click.argument("name")
def kill(name: str) -> None:
    """Kill a node as a pulled plug would (SIGKILL).

    \b
    Example:
      bt sim kill sim-1
    """  # noqa: D301
    node = _node(name)
    if not node.stop(kill=True):
        raise Fault(Kind.STOPPED, "does not run", path=name, next_step=f"bt sim start {name}")
    say(f"Killed {name}.")


@command.command("start")
@click.argument("name")
def start(name: str) -> None:
    """Start a node again, and return when it answers."""
    start_node(_node(name))
    say(f"Started {name}.")


@command.command("ls")
@json_option
def list_nodes(*, as_json: bool) -> None:
    """List this machine's nodes: process, address, state directory, log, role."""
    rows = [_local(node) for node in here().nodes()]
    if any(row["pid"] for row in rows):
        _add_roles(rows)
    if as_json:
        print_json("sim.ls", {"nodes": rows})
        return
    print_table(
        ("NODE", "PROCESS", "ADDRESS", "ROLE", "APPLIED", "STATE"),
        [
            (
                r["name"],
                str(r["pid"] or "-"),
                r["address"],
                r["role"],
                str(r["applied"]),
                r["state"],
            )
            for r in rows
        ],
    )


def _local(node: Daemon) -> dict[str, Any]:
    pid = node.pid()
    port = ready_port(node.folder, pid)
    return {
        "name": node.folder.name,
        "path": "",
        "pid": pid,
        "address": f"127.0.0.1:{port}" if port else "-",
        "state": str(node.folder),
        "log": str(node.log_file),
        "role": "down" if pid is None else "starting",
        "applied": 0,
    }


def _add_roles(rows: list[dict[str, Any]]) -> None:
    try:
        report = gather("", ())
    except Fault as fault:
        say(f"The nodes do not say how they are: {fault}")
        return
    said = {leaf(path): node_report(report, path, status) for path, status in report.statuses}
    for row in rows:
        answer = said.get(row["name"], {})
        if answer.get("role", "away") != "away" and row["pid"]:
            row |= {key: answer[key] for key in ("path", "role", "applied", "committed", "term")}
        elif answer:
            row["path"] = answer["path"]


def _node(name: str) -> Daemon:
    node = here().node(name.rpartition("/")[2])
    if not node.folder.exists():
        names = ", ".join(each.folder.name for each in here().nodes()) or "none"
        raise Fault(Kind.NOT_FOUND, "no such node here", path=name, next_step=f"there is: {names}")
    return node
