"""`bt device scan`: what is plugged into this machine."""

import click

from blocktree.cli.asking import json_option
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.gateways import Port
from blocktree_gateway.flashing import Repl, ports


@click.command("scan")
@click.argument("given", nargs=-1, metavar="[PORT]...")
@json_option
def command(given: tuple[str, ...], *, as_json: bool) -> None:
    """Look at this machine's serial ports and say what is on each.

    A port that a gateway of this machine serves is let go of for a moment.

    \b
    Examples:
      bt device scan
      bt device scan /dev/ttyACM0
    """  # noqa: D301
    described = dict(ports())
    wanted = list(given) or list(described)
    rows = [_look(port, described.get(port, "")) for port in wanted]
    if as_json:
        print_json("device.scan", {"ports": rows})
        return
    if not rows:
        say("No board is plugged in. Next: plug one in, or pair one over the network:")
        say("  bt device pair any /home/sensors/NAME")
        return
    print_table(("PORT", "BOARD", "STATE"), [(r["port"], r["board"], r["state"]) for r in rows])
    for row in rows:
        if row["next"]:
            say(f"Next for {row['port']}: {row['next']}")


def _look(port: str, description: str) -> dict[str, str]:
    row = {"port": port, "board": description or "-", "state": "", "next": ""}
    try:
        with Port(here(), port), Repl(port) as repl:
            board = repl.board()
    except Fault as fault:
        row["state"] = fault.what
        if fault.kind is Kind.UNREACHABLE:
            row["state"] = "no MicroPython prompt: blank, or our runtime is at work"
            row["next"] = f"bt device pair {port} /home/sensors/NAME"
        return row
    row["board"] = board.machine
    version = ".".join(map(str, board.version))
    if board.runtime:
        row["state"] = f"MicroPython {version} with our runtime"
        row["next"] = f"bt device pair {port} /home/sensors/NAME"
    else:
        row["state"] = f"MicroPython {version}, blank"
        row["next"] = f"bt device flash {port}"
    return row
