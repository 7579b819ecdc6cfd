"""`bt init`: make a tree and its keys on this machine."""

import getpass
import os
import secrets
import time
from pathlib import Path

import click

from blocktree.cli.asking import json_option, owner_options, read_passphrase
from blocktree.cli.output import print_json, say
from blocktree.cli.places import Places, TreePlace, here, write_whole
from blocktree.fault import Fault, Kind
from blocktree.keys import NewTree, new_tree
from blocktree.names import parse_name
from blocktree.sectors.genesis import found_tree
from blocktree.wire import encode


@click.command("init")
@click.argument("name", default="home")
@click.option("--user", default=None, help="The first user's name; your login name by default.")
@owner_options
@json_option
def command(
    name: str, user: str | None, passphrase_file: Path | None, *, no_input: bool, as_json: bool
) -> None:
    """Make the tree /NAME: its root key, the owner's key and the first user's.

    \b
    Examples:
      bt init home
      bt init farm --user ada --no-input --passphrase-file secret.txt

    The root key is shown once, as 24 words, and kept nowhere. Write them down and keep them away
    from the machine: they are the only way back if this machine and its passphrase are lost.
    """  # noqa: D301
    places = here()
    check_free(places, name)
    passphrase = read_passphrase(passphrase_file, no_input=no_input, new=True)
    made = make_tree(places, name, user or login_name(), passphrase)
    if as_json:
        print_json("init", {"alias": name, "tree": made.tree, "recovery_words": made.words})
        return
    say(f"Created the tree /{name}   {made.tree}")
    say(f"You are {made.user.path.replace(made.tree, name)}.")
    say("")
    say("Recovery words. Write them on paper, now, and keep them away from this machine:")
    say("")
    for row in range(0, len(made.words), 6):
        words = made.words[row : row + 6]
        click.echo("   " + "".join(f"{row + i:3}. {word:<10}" for i, word in enumerate(words, 1)))
    say("")
    say("Next:  bt up                         keep the tree on this machine, or")
    say(f"       bt node invite /{name}/pi-1     have another machine keep it")


def login_name() -> str:
    """The name of who runs this, as a name in the tree."""
    try:
        return parse_name(getpass.getuser())
    except (OSError, KeyError):
        return "me"


def check_free(places: Places, name: str) -> TreePlace:
    """Where a new tree of this name goes.

    Raises:
        Fault: USAGE for a name that cannot be one, EXISTS if there is a tree of that name.
    """
    place = places.tree_place(name)
    if name.startswith("bt1"):
        raise Fault(Kind.USAGE, "a tree's name cannot start with bt1: its id does", path=name)
    if place.folder.exists():
        raise Fault(
            Kind.EXISTS,
            "there is a tree of that name on this machine",
            path=f"/{name}",
            next_step="choose another name, or use it: bt status",
        )
    return place


def make_tree(places: Places, name: str, user: str, passphrase: str) -> NewTree:
    """Make a tree and save what this machine keeps of it."""
    place = check_free(places, name)
    draw = secrets.token_bytes
    made = new_tree(name, user, now=int(time.time()), passphrase=passphrase, draw=draw)
    genesis = found_tree(
        made.owner,
        made.user.key.principal,
        made.members,
        uid=os.getuid(),
        gid=os.getgid(),
        time_ns=time.time_ns(),
        draw=draw,
    )
    write_whole(place.folder / "owner.sealed", made.owner_sealed, secret=True)
    write_whole(place.folder / "user", made.user.save(), secret=True)
    write_whole(place.folder / "genesis", encode(genesis), secret=True)
    write_whole(place.folder / "root.der", made.root)
    return made
