"""`bt sim device`: simulated devices of a throw-away tree."""

import click

from blocktree.cli.asking import json_option
from blocktree.cli.daemons import Daemon
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.gateways import start_gateway
from blocktree_gateway.cli.opening import place_text, target
from blocktree_gateway.cli.simulations import (
    LINKS,
    Simulation,
    device_daemons,
    sim_gateway,
    start_simulation,
    wait_paired,
)

_PAIR_SECONDS = 60.0


@click.group("device")
def command() -> None:
    """Simulated devices: the runtime that boards run, in MicroPython on this machine."""


@command.command("add")
@click.argument("path")
@click.option("--link", type=click.Choice(LINKS), default="udp", show_default=True)
@click.option("--app", default="climate", show_default=True, help="climate, switch or button.")
@click.option("--every", default=2000, show_default=True, help="Milliseconds between readings.")
def add(path: str, link: str, app: str, every: int) -> None:
    """Start a simulated device and pair it at PATH.

    \b
    Example:
      bt sim device add /home/lamps/desk --link mtls --app switch
    """  # noqa: D301
    places, where = here(), target(path)
    below = "/".join(name.decode() for name in where.names)
    name = below.replace("/", "-")
    if any(daemon.folder.name == name for daemon in device_daemons(places)):
        raise Fault(Kind.EXISTS, "there is a simulated device", path=path)
    gateway = sim_gateway(places, where.place)
    if gateway.pid() is None:
        start_gateway(gateway)
    simulation = Simulation(str(where.place.folder), str(gateway.folder), below, link, app, every)
    daemon = start_simulation(places, simulation, name)
    if not wait_paired(daemon, _PAIR_SECONDS):
        raise Fault(
            Kind.FAILED,
            f"did not become part of the tree: {daemon.last_words()}",
            path=path,
            next_step=f"read {daemon.log_file}",
        )
    text = place_text(where.place, where.names)
    say(f"{text} is simulated on this machine and speaks by {link}.")
    say(f"Next: bt read {text} --follow")


@command.command("kill")
@click.argument("path")
def kill(path: str) -> None:
    """Pull the plug of a simulated device; `bt sim device start` plugs it in again."""
    if not _find(path).stop(kill=True):
        raise Fault(Kind.STOPPED, "does not run", path=path)
    say(f"Killed {path}.")


@command.command("start")
@click.argument("path")
def start(path: str) -> None:
    """Start a simulated device again."""
    daemon = _find(path)
    daemon.start("blocktree_gateway.cli.simulated", [str(daemon.folder)])
    say(f"Started {path}.")


@command.command("ls")
@json_option
def list_devices(*, as_json: bool) -> None:
    """List this machine's simulated devices."""
    rows = []
    for daemon in device_daemons(here()):
        simulation = Simulation.load(daemon.folder)
        state = "runs" if daemon.pid() else "down"
        rows.append(
            {
                "path": simulation.path,
                "state": state,
                "link": simulation.link,
                "app": simulation.app,
                "log": str(daemon.log_file),
            }
        )
    if as_json:
        print_json("sim.device.ls", {"devices": rows})
        return
    print_table(("DEVICE", "STATE", "LINK", "APP", "LOG"), [tuple(row.values()) for row in rows])


def _find(path: str) -> Daemon:
    where = target(path)
    name = "-".join(part.decode() for part in where.names)
    for daemon in device_daemons(here()):
        if daemon.folder.name == name:
            return daemon
    raise Fault(Kind.NOT_FOUND, "no such simulated device", path=path, next_step="bt sim device ls")
