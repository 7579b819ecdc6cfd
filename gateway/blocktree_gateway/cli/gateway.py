"""`bt gateway`: let this machine speak for devices."""

import click

from blocktree.cli.asking import json_option
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import Places, here
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.gateways import (
    gateway_daemon,
    gateway_daemons,
    prepare_gateway,
    running,
    start_gateway,
    usual_name,
)
from blocktree_gateway.folder import TLS_PORT, UDP_PORT, GatewayFolder, Settings


@click.group("gateway")
def command() -> None:
    """Let this machine speak for devices: sensors, lamps, buttons."""


@command.command("up")
@click.argument("name", default="")
@click.option("--tree", default="", metavar="NAME", help="Which tree, if there are several.")
@click.option("--host", default="", help="Listen on this address only.")
@click.option("--udp", type=int, default=UDP_PORT, show_default=True, help="UDP port; 0: any.")
@click.option("--tls", type=int, default=TLS_PORT, show_default=True, help="TLS port; 0: any.")
@click.option(
    "--serial",
    multiple=True,
    metavar="PORT",
    help="A serial port; `auto`, the default, takes every USB one that is plugged in.",
)
@click.option("--addr", "seeds", multiple=True, metavar="HOST:PORT", help="Where a node listens.")
@click.option("--no-discover", is_flag=True, help="Announce nothing by multicast DNS.")
def up(
    *,
    name: str,
    tree: str,
    host: str,
    udp: int,
    tls: int,
    serial: tuple[str, ...],
    seeds: tuple[str, ...],
    no_discover: bool,
) -> None:
    """Start a gateway on this machine; `bt up` starts it from then on.

    It works for the user of this machine: it keeps what devices send in the tree, and passes on
    what is sent to them. Several gateways may hear one device; exactly one speaks for it.

    \b
    Examples:
      bt gateway up
      bt gateway up --serial /dev/ttyACM0
    """  # noqa: D301
    places = here()
    place = places.tree_place(tree) if tree else places.only_tree()
    place.user()  # says what to do if there is none here
    daemon = gateway_daemon(places, name or usual_name())
    if daemon.pid() is not None:
        raise Fault(
            Kind.IN_USE,
            "runs already",
            path=daemon.folder.name,
            next_step="bt gateway status; to change how it listens: bt gateway down first",
        )
    settings = Settings(
        str(place.folder), host, udp, tls, serial or ("auto",), seeds, discover=not no_discover
    )
    known = (daemon.folder / "settings.json").exists()
    if not known or settings != Settings(str(place.folder)):  # as before, unless said otherwise
        prepare_gateway(places, daemon.folder.name, settings)
    start_gateway(daemon)
    ready = running(daemon)
    assert ready is not None
    say(f"Gateway {daemon.folder.name} serves devices on UDP {ready.udp} and TLS {ready.tls}.")
    say(f"Next: bt device scan, then bt device pair PORT /{place.alias}/sensors/NAME")


@command.command("down")
@click.argument("name", default="")
def down(name: str) -> None:
    """Stop this machine's gateway; devices keep their readings until one is back.

    \b
    Example:
      bt gateway down
    """  # noqa: D301
    daemons = [gateway_daemon(here(), name)] if name else gateway_daemons(here())
    stopped = [daemon.folder.name for daemon in daemons if daemon.stop()]
    say(f"Stopped {', '.join(stopped)}." if stopped else "No gateway ran here.")


@command.command("status")
@json_option
def status(*, as_json: bool) -> None:
    """Say which gateways this machine has, and how they listen.

    \b
    Example:
      bt gateway status --json
    """  # noqa: D301
    rows = _rows(here())
    if as_json:
        print_json("gateway.status", {"gateways": rows})
        return
    if not rows:
        say("No gateway on this machine. Next: bt gateway up")
        return
    heads = ("GATEWAY", "STATE", "UDP", "TLS", "SERIAL", "LOG")
    print_table(heads, [tuple(str(value) for value in row.values()) for row in rows])


def _rows(places: Places) -> list[dict[str, str | int]]:
    rows: list[dict[str, str | int]] = []
    for daemon in gateway_daemons(places):
        try:
            settings = GatewayFolder(daemon.folder).settings()
        except Fault:
            continue
        ready, pid = running(daemon), daemon.pid()
        rows.append(
            {
                "name": daemon.folder.name,
                "state": "serves" if ready else "starting" if pid else "down",
                "udp": ready.udp if ready else settings.udp,
                "tls": ready.tls if ready else settings.tls,
                "serial": " ".join(settings.serial),
                "log": str(daemon.log_file),
            }
        )
    return rows
