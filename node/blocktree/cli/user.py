"""`bt user`: have another person belong to the tree, each with a key of his own."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path as FilePath
from typing import TypeVar

import click

from blocktree.cli.asking import (
    address_option,
    confirm_by_name,
    json_option,
    owner_options,
    read_word,
)
from blocktree.cli.init import check_free, login_name
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.owner import in_person, open_owner
from blocktree.cli.places import Places, TreePlace, here, write_whole
from blocktree.cli.reports import find_tree
from blocktree.cli.session import Session, for_people, members_of, run
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.keys import (
    Credential,
    Key,
    Member,
    MemberKind,
    Welcome,
    decode_request,
    decode_welcome,
    encode_request,
    encode_welcome,
    issue,
    user_path,
)
from blocktree.names import Path, leaf
from blocktree.store.messages import Join, Joined, Remove, Removed

_T = TypeVar("_T")
_ADDRESSES_MAX = 8


@click.group("user")
def command() -> None:
    """Have other people belong to the tree: each has a key, made on his own machine.

    \b
    On the machine of the new one:        bt user request
    On the owner's, with what it prints:  bt user add /home/users/bob REQUEST
    On the new one's, with the answer:    bt user join WELCOME
    """  # noqa: D301


@command.command("request")
def request() -> None:
    """Make a key on this machine and print the request that shows it. It is no secret.

    \b
    Example:
      bt user request
    """  # noqa: D301
    key = Key.generate(secrets.token_bytes)
    write_whole(_waiting(here(), key.principal.id), key.scalar(), secret=True)
    say("Give this to the owner of the tree; it is no secret:")
    click.echo(encode_request(key.principal))


@command.command("add")
@click.argument("path", metavar="PATH")
@click.argument("request_text", metavar="REQUEST")
@address_option
@owner_options
def add(
    path: str,
    request_text: str,
    addresses: tuple[str, ...],
    passphrase_file: FilePath | None,
    *,
    no_input: bool,
) -> None:
    """Let somebody belong as PATH, and print the welcome for him. It is no secret.

    REQUEST is what `bt user request` printed on his machine. He may do nothing yet: bt share.

    \b
    Example:
      bt user add /home/users/bob btq1…
    """  # noqa: D301
    where = parse_tree_path(path, here())
    place = where.place
    target = _user_path(where)
    principal = decode_request(read_word(request_text))
    owner = open_owner(place, passphrase_file, no_input=no_input)
    now, draw = int(time.time()), secrets.token_bytes
    chain = issue(owner, MemberKind.USER, target, principal, now=now, draw=draw)

    async def work(client: Client, service: SectorService) -> tuple[str, ...]:
        await service.ask(Join(chain, ()), Joined)
        return tuple(dict.fromkeys(client.addresses()))

    found = _in_person(place, owner, addresses, work)
    say(f"{path} belongs to the tree. Give this to him; it is no secret:")
    click.echo(encode_welcome(Welcome(chain, found[:_ADDRESSES_MAX])))
    say(f"Next: bt share /{place.alias} --with {path} --may read")


@command.command("join")
@click.argument("welcome_text", metavar="WELCOME")
@click.option("--as", "alias", default="home", show_default=True, help="The tree's name here.")
def join(welcome_text: str, alias: str) -> None:
    """Use the tree on this machine, as the person that WELCOME names.

    \b
    Example:
      bt user join btw1…
    """  # noqa: D301
    places = here()
    welcome = decode_welcome(read_word(welcome_text))
    identity = welcome.identity
    waiting = _waiting(places, identity.principal)
    if not waiting.exists():
        raise Fault(
            Kind.DENIED,
            "the key that it is for was not made on this machine",
            next_step="bt user request, here, and have that added",
        )
    place = check_free(places, alias)
    credential = Credential.of(Key.load(waiting.read_bytes()), welcome.chain)
    write_whole(place.folder / "user", credential.save(), secret=True)
    write_whole(place.folder / "root.der", welcome.chain[-1])
    place.remember_seeds(welcome.addresses)
    waiting.unlink()
    say(f"You are {identity.path.replace(identity.tree, alias)} of the tree {identity.tree}.")
    say("Compare the tree's name with the owner's, then: bt status")


@command.command("ls")
@click.argument("tree", default="")
@address_option
@json_option
def list_users(tree: str, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """List the people that belong to the tree.

    \b
    Example:
      bt user ls
    """  # noqa: D301
    place = find_tree(tree)

    async def work(session: Session) -> tuple[Member, ...]:
        return await members_of(await session.tree(place))

    people = [m for m in run(work, addresses) if m.kind in (MemberKind.OWNER, MemberKind.USER)]
    rows = [
        {
            "path": place.shown(m.path),
            "kind": m.kind.name.lower(),
            "key": m.principal.hex(),
        }
        for m in people
    ]
    if as_json:
        print_json("user.ls", {"users": rows})
    else:
        print_table(("PATH", "KIND", "KEY"), [(r["path"], r["kind"], r["key"][:16]) for r in rows])


@command.command("remove")
@click.argument("path", metavar="PATH")
@click.option("--yes", metavar="NAME", help="The name of the person, instead of typing it.")
@address_option
@owner_options
def remove(
    path: str,
    yes: str | None,
    addresses: tuple[str, ...],
    passphrase_file: FilePath | None,
    *,
    no_input: bool,
) -> None:
    """End somebody's belonging: everybody refuses him at once. What he wrote stays.

    He keeps the keys of what he could read: take that back first, bt share --stop.

    \b
    Example:
      bt user remove /home/users/bob
    """  # noqa: D301
    where = parse_tree_path(path, here())
    target = _user_path(where)
    name = leaf(target)
    confirm_by_name(name, f"Remove {path}?", given=yes, no_input=no_input)
    owner = open_owner(where.place, passphrase_file, no_input=no_input)

    async def work(client: Client, service: SectorService) -> None:
        people = {m.path: m.principal for m in client.members if m.kind is MemberKind.USER}
        if target not in people:
            raise Fault(Kind.NOT_FOUND, "no such person", path=path, next_step="bt user ls")
        await service.ask(Remove(people[target]), Removed)

    _in_person(where.place, owner, addresses, work)
    say(f"{path} belongs to the tree no more.")


def _user_path(where: TreePath) -> Path:
    """The path of a person.

    Raises:
        Fault: USAGE unless it lies right below `users`.
    """
    if len(where.names) != 2 or where.names[0] != b"users":
        step = f"/{where.place.alias}/users/{login_name()}"
        raise Fault(Kind.USAGE, "a person's path lies in users", path=str(where), next_step=step)
    return user_path(where.place.tree(), where.names[1].decode(errors="replace"))


def _in_person(
    place: TreePlace,
    owner: Credential,
    addresses: Sequence[str],
    work: Callable[[Client, SectorService], Awaitable[_T]],
) -> _T:
    """Do something in the owner's name."""

    async def play() -> _T:
        async with in_person(place, owner, addresses) as (client, service):
            return await work(client, service)

    try:
        return asyncio.run(play())
    except Fault as fault:
        raise for_people(fault, here().trees()) from None


def _waiting(places: Places, principal: bytes) -> FilePath:
    """Where a key is kept until it is welcomed."""
    return places.root / "requests" / principal.hex()[:32]
