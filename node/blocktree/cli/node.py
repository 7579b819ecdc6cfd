"""`bt node`: invite machines, join as one, list those that keep the tree."""

import importlib
import secrets
import time
from pathlib import Path as FilePath

import click

from blocktree.cli.asking import (
    address_option,
    json_option,
    no_input_option,
    owner_options,
    read_passphrase,
    read_word,
)
from blocktree.cli.output import duration_text, print_json, print_table, say
from blocktree.cli.places import Places, TreePlace, here
from blocktree.cli.reports import gather, node_report
from blocktree.cli.running import start_node
from blocktree.fault import Fault, Kind
from blocktree.keys import (
    Credential,
    MemberKind,
    Ticket,
    decode_ticket,
    encode_ticket,
    judge_ticket,
    new_ticket,
    open_credential,
)
from blocktree.names import Path, components, leaf
from blocktree.store.folder import NodeFolder, Settings

_DAY = 86_400


class _Verbs(click.Group):
    """The verbs of this module, and those that have modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "remove", "replace"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in {"remove", "replace"}:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"blocktree.cli.node{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group("node", cls=_Verbs)
def command() -> None:
    """Invite, join, list, remove and replace the machines that keep the tree."""


@command.command("invite")
@click.argument("path")
@click.option("--days", default=7, show_default=True, help="How long the ticket is good (1 to 90).")
@address_option
@owner_options
@json_option
def invite(
    path: str,
    days: int,
    addresses: tuple[str, ...],
    passphrase_file: FilePath | None,
    *,
    no_input: bool,
    as_json: bool,
) -> None:
    """Print a ticket that lets one machine join as PATH.

    \b
    Examples:
      bt node invite /home/pi-2
      bt node invite /home/pi-2 | ssh pi-2 bt node join -

    The ticket is a secret until it is used. It works once, also while this machine is off, and is
    bound to this tree and to PATH. The first ticket of a new tree also carries its beginning.
    """  # noqa: D301
    places = here()
    aliases = places.aliases()
    target = aliases.resolve(path)
    place = places.tree_of(tree := aliases.trees[components(Path(aliases.display(target)))[0]])
    if target == f"/{tree}":
        raise Fault(
            Kind.USAGE, "a node has a path below the tree", path=path, next_step="/home/pi-1"
        )
    passphrase = read_passphrase(passphrase_file, no_input=no_input)
    owner = open_credential(place.owner_sealed(), passphrase)
    ticket = issue_ticket(place, owner, target, days=days, addresses=addresses)
    text = encode_ticket(ticket)
    if as_json:
        expires = ticket.mark.expires
        print_json("ticket", {"path": path, "ticket": text, "expires": expires})
        return
    say(f"A ticket for {path}: one use, good for {days} days. On that machine run")
    say("    bt node join TICKET")
    click.echo(text)


@command.command("join")
@click.argument("ticket")
@click.option("--port", default=None, type=int, help="Listen on this port; 7400 or a free one.")
@address_option
@no_input_option
def join(ticket: str, port: int | None, addresses: tuple[str, ...], *, no_input: bool) -> None:
    """Join the tree that TICKET names, and start keeping it.

    TICKET is the string that `bt node invite` printed, a file that holds it, or - to read it from
    standard input (so that it is not in the list of processes).
    """
    del no_input  # joining asks nothing
    opened = decode_ticket(read_word(ticket))
    places = here()
    begun = time.monotonic()
    name = prepare_node(places, opened, port=port, seeds=addresses)
    what = "starts" if opened.genesis else "joins"
    say(f"{name} {what} the tree {opened.tree[:11]}… ")
    start_node(places.node(name))
    say(f"{name} keeps the tree now ({duration_text(time.monotonic() - begun)}).")


@command.command("ls")
@click.argument("tree", default="")
@address_option
@json_option
def list_nodes(tree: str, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """List the nodes that keep the tree, as they say themselves."""
    report = gather(tree, addresses)
    rows = [node_report(report, path, status) for path, status in report.statuses]
    if as_json:
        print_json("node.ls", {"tree": report.tree, "nodes": rows})
        return
    print_table(
        ("NODE", "ROLE", "APPLIED", "BLOBS", "USED", "SYNC"),
        [
            (r["path"], r["role"], str(r["applied"]), str(r["blobs"]), r["used"], r["sync"])
            for r in rows
        ],
    )


def issue_ticket(
    place: TreePlace,
    owner: Credential,
    path: Path,
    *,
    days: int = 7,
    addresses: tuple[str, ...] = (),
) -> Ticket:
    """A ticket signed by the owner; that of a tree's first node carries the genesis."""
    if not 1 <= days <= 90:
        raise Fault(Kind.USAGE, "a ticket is good for 1 to 90 days")
    return new_ticket(
        owner,
        MemberKind.NODE,
        path,
        now=int(time.time()),
        draw=secrets.token_bytes,
        seconds=days * _DAY,
        addresses=tuple(dict.fromkeys([*addresses, *place.seeds()]))[:8],
        genesis=place.genesis_for(path),
    )


def prepare_node(
    places: Places,
    ticket: Ticket,
    *,
    port: int | None,
    seeds: tuple[str, ...] = (),
    local: bool = False,
) -> str:
    """Make a node's state directory from a ticket, and give its name.

    Args:
        places: the state directory of this machine.
        ticket: what the node joins with at its first start.
        port: where it listens; None takes the usual one, or any that is free.
        seeds: addresses of other nodes.
        local: listen on the loopback address only, and announce nothing.

    Raises:
        Fault: EXISTS if this machine has a node of that name, EXPIRED if the ticket is over.
    """
    judge_ticket(ticket.credential.identity, int(time.time()))
    name = leaf(ticket.path)
    folder = places.node(name).folder
    if folder.exists():
        raise Fault(
            Kind.EXISTS,
            "this machine has a node of that name",
            path=name,
            next_step=f"start it: bt up; or remove it first: {folder}",
        )
    settings = Settings("127.0.0.1" if local else "", port or 0, seeds, discover=not local)
    NodeFolder(folder).invite(ticket, settings)
    return name
