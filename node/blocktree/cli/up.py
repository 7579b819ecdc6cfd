"""`bt up`: start this machine's nodes, and make a throw-away tree with --sim."""

import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path as FilePath

import click

from blocktree.cli.asking import owner_options, read_passphrase
from blocktree.cli.companions import companions
from blocktree.cli.daemons import Daemon
from blocktree.cli.init import login_name, make_tree
from blocktree.cli.node import issue_ticket, prepare_node
from blocktree.cli.output import duration_text, print_table, say
from blocktree.cli.places import Places, here, write_whole
from blocktree.cli.reports import Report, gather, node_report
from blocktree.cli.running import free_ports, start_node
from blocktree.fault import Fault, Kind
from blocktree.keys import open_credential
from blocktree.names import join, parse_name, parse_path

_SIM_MAX = 9
_VOTERS_SECONDS = 30.0


@click.command("up")
@click.option(
    "--sim",
    "count",
    type=click.IntRange(1, _SIM_MAX),
    metavar="N",
    help="Make a throw-away tree kept by N nodes on this machine.",
)
@click.option("--bare", is_flag=True, help="Nodes only: no gateway, no simulated device.")
@owner_options
def command(
    count: int | None, passphrase_file: FilePath | None, *, bare: bool, no_input: bool
) -> None:
    """Start this machine's nodes and return when they answer.

    On the machine where `bt init` ran and nothing keeps the tree yet, this makes the first node,
    named after the machine. On others, join first: bt node join TICKET.

    \b
    Examples:
      bt up
      bt up --sim 3
    """  # noqa: D301
    places = here()
    begun = time.monotonic()
    if count is not None:
        prepare_sim(places, count)
    elif not places.nodes():
        _first_node(places, passphrase_file, no_input=no_input)
    started = start_all(places.nodes())
    if not places.trees():
        took = duration_text(time.monotonic() - begun)
        say(f"{', '.join(started) or 'Every node'} runs ({took}).")
        return
    report = wait_for_voters(places.trees()[0].alias, places.nodes())
    rows = [node_report(report, path, status) for path, status in report.statuses]
    print_table(("NODE", "ROLE"), [(row["path"], row["role"]) for row in rows])
    for companion in () if bare else companions():
        for line in companion.start(places, sim=count is not None):
            say(line)
    say(f"Ready in {duration_text(time.monotonic() - begun)}. State is under {places.root}")
    say(f"Next: bt mount {report.tree} DIR")


def prepare_sim(places: Places, count: int) -> None:
    """Make the throw-away tree `home` and its nodes, as far as they are not there yet."""
    if not places.trees():
        passphrase = secrets.token_urlsafe(16)
        make_tree(places, "home", login_name(), passphrase)
        write_whole(places.tree_place("home").passphrase, passphrase.encode(), secret=True)
    place = places.only_tree()
    if not place.is_throwaway():
        raise Fault(
            Kind.EXISTS,
            "--sim makes a throw-away tree, and this machine has a real one",
            path=f"/{place.alias}",
            next_step="choose another state directory: BLOCKTREE_STATE=DIR bt up --sim 3",
        )
    missing = [
        name
        for name in (f"sim-{number}" for number in range(1, count + 1))
        if not places.node(name).folder.exists()
    ]
    ports = free_ports(len(missing))
    seeds = tuple(f"127.0.0.1:{port}" for port in ports)
    place.remember_seeds(seeds)
    owner = open_credential(place.owner_sealed(), place.passphrase.read_text())
    for name, port in zip(missing, ports, strict=True):
        path = join(parse_path(f"/{place.tree()}"), name)
        ticket = issue_ticket(place, owner, path)
        prepare_node(places, ticket, port=port, seeds=place.seeds(), local=True)


def start_all(nodes: Sequence[Daemon]) -> list[str]:
    """Start the nodes that do not run; their names. The founder of a tree goes first.

    Raises:
        Fault: that of the first that does not start, after the others were started.
    """
    started = []
    faults = []
    for node in nodes:
        if node.pid() is None:
            try:
                start_node(node)
            except Fault as fault:
                faults.append(fault)
                continue
            started.append(node.folder.name)
    if faults:
        raise faults[0]
    return started


def wait_for_voters(alias: str, nodes: Sequence[Daemon]) -> Report:
    """Wait until the tree has a leader and this many voters, or as many as there are nodes.

    Raises:
        Fault: NO_QUORUM if that takes more than half a minute; FAILED if a node stops meanwhile.
    """
    deadline = time.monotonic() + _VOTERS_SECONDS
    while True:
        report = gather(alias, ())
        voters = report.voters
        if report.leader is not None and voters[0] >= min(len(nodes), 5):
            return report
        for node in nodes:
            node.check_runs()
        if time.monotonic() > deadline:
            raise Fault(
                Kind.NO_QUORUM,
                f"{voters[0]} of {voters[1]} voters answer",
                path=report.tree,
                next_step="bt status",
            )
        time.sleep(0.1)


def _first_node(places: Places, passphrase_file: FilePath | None, *, no_input: bool) -> None:
    place = places.only_tree()
    name = parse_name(socket.gethostname().split(".")[0] or "node-1")
    path = join(parse_path(f"/{place.tree()}"), name)
    if not place.genesis_for(path):
        raise Fault(
            Kind.NOT_FOUND,
            "this machine has no node of the tree",
            path=f"/{place.alias}",
            next_step=f"bt node invite /{place.alias}/{name}, then here: bt node join TICKET",
        )
    say(f"This machine becomes /{place.alias}/{name}, the first node of the tree.")
    passphrase = read_passphrase(passphrase_file, no_input=no_input)
    ticket = issue_ticket(place, open_credential(place.owner_sealed(), passphrase), path)
    prepare_node(places, ticket, port=None)
