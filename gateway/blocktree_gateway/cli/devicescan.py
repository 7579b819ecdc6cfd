"""`bt device scan`: what is plugged into this machine, and who waits on its networks."""

import asyncio
from collections.abc import Sequence

import click

from blocktree.cli.asking import json_option
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.cli.treepaths import printable
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.gateways import Port
from blocktree_gateway.flashing import Repl, ports
from blocktree_gateway.scanning import endpoint, everyone, waiting_devices


@click.command("scan")
@click.argument("given", nargs=-1, metavar="[PORT|ADDR]...")
@json_option
def command(given: tuple[str, ...], *, as_json: bool) -> None:
    """Say what is on this machine's serial ports, and which devices of its networks can be paired.

    A port that a gateway of this machine serves is let go of for a moment. A device on the network
    answers for two minutes after it was switched on, and for as long as it was never paired.

    \b
    Examples:
      bt device scan
      bt device scan /dev/ttyACM0
      bt device scan 192.168.1.77
    """  # noqa: D301
    described = dict(ports())
    serial = [each for each in given if each.startswith(("/", "./"))]
    rows = [_look(port, described.get(port, "")) for port in (serial if given else described)]
    addresses = [each for each in given if each not in serial]
    network = _ask(addresses) if addresses or not given else []
    if as_json:
        print_json("device.scan", {"ports": rows, "network": network})
        return
    if not rows and not network:
        say("No board is plugged in, and none on the network waits to be paired.")
        say("Next: plug one in; or switch one that has a setup code off and on again.")
        return
    found = [(r["port"], r["board"], r["state"]) for r in rows]
    found += [(r["address"], r["board"], r["state"]) for r in network]
    print_table(("WHERE", "BOARD", "STATE"), found)
    for where, step in [
        *((r["port"], r["next"]) for r in rows),
        *((r["address"], r["next"]) for r in network),
    ]:
        if step:
            say(f"Next for {where}: {step}")


def _ask(given: Sequence[str]) -> list[dict[str, str]]:
    where = [endpoint(each) for each in given] or everyone()
    found = asyncio.run(waiting_devices(where))
    return [
        {
            "address": each.where,
            "board": printable(each.board.encode()) or "-",
            "state": "can be paired with its setup code",
            "next": f"bt device pair {each.where} /home/sensors/NAME",
        }
        for each in found
    ]


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
