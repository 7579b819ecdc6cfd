"""`bt share`: who may do what in a directory; give it to others, and take it back."""

from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import click

from blocktree.caps import Access, Grant, Right, grant_to, rights_of
from blocktree.cli.asking import address_option, json_option, owner_options
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.owner import open_owner
from blocktree.cli.places import Places, TreePlace, here
from blocktree.cli.publishing import publish
from blocktree.cli.session import OpenTree, Session, members_of, run, said_of
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.cli.trees import Found, find_directory
from blocktree.fault import Fault, Kind
from blocktree.files.rekeying import Renewed
from blocktree.keys import Credential, Member
from blocktree.keys.chain import read_chain
from blocktree.names import Path, PrincipalId

_RIGHTS = {"read": Right.READ, "write": Right.WRITE, "send": Right.SEND, "grant": Right.GRANT}
_HEX_KEY = 64
_TOGETHER = "say --with WHO together with --may RIGHTS or --stop"


@click.command("share")
@click.argument("path", metavar="PATH")
@click.option("--with", "who", metavar="WHO", help="A member's path, a path, or a key in hex.")
@click.option("--may", metavar="RIGHTS", help="What they may: read, write, send, grant; commas.")
@click.option("--stop", is_flag=True, help="Take that back in this directory, or everything.")
@click.option("--new-keys", is_flag=True, help="Begin new keys in PATH and all below it.")
@address_option
@owner_options
@json_option
def command(
    path: str,
    who: str | None,
    may: str | None,
    addresses: tuple[str, ...],
    passphrase_file: FilePath | None,
    *,
    stop: bool,
    new_keys: bool,
    no_input: bool,
    as_json: bool,
) -> None:
    """Say who may do what in a directory, or let others.

    Rights are inherited by everything below and only add up. WHO is a member of the tree
    (/home/users/ann, /home/pi-1), a path that stands for all below it, or anybody's key in hex. To
    read takes a key, so only a member can be given that. send is to send messages to the actors
    there, judged by paths, so nodes learn the directory's name; grant is to share what lies below.

    \b
    Examples:
      bt share /home/photos
      bt share /home/lamps --with /home/buttons --may send
      bt share /home/inbox --with /home/users/bob --may write,send
      bt share /home/inbox --with /home/users/bob --stop
      bt share /home/inbox --with /home/users/bob --stop --may write

    What somebody wrote stays when his right to write is taken back: you sign it anew. Who loses
    the right to read keeps what he has; what is written later has new keys, which he has not.
    If that breaks off, go on with --new-keys.

    The tree's root is shared by its owner, who is asked for the passphrase.
    """  # noqa: D301
    if (who is None) != (may is None and not stop) or (who and new_keys):
        raise Fault(Kind.USAGE, _TOGETHER, next_step="bt share --help")
    rights = _rights(may) if may else Right.ALL
    places = here()
    where = parse_tree_path(path, places)
    signer = where.place.user()
    if (who is not None or new_keys) and not where.names:
        signer = open_owner(where.place, passphrase_file, no_input=no_input)

    async def play(session: Session) -> list[dict[str, Any]]:
        tree = await session.tree(where.place)
        with said_of(where):
            if new_keys:
                await _renew(tree, where, signer)
            elif who is not None:
                work = _take_back if stop else _give
                known = _Who(who, places, await members_of(tree))
                await work(tree, where, known, rights, signer)
            return await _listed(tree, where)

    rows = run(play, addresses)
    if as_json:
        print_json("share", {"path": str(where), "grants": rows})
    elif who is not None:
        say(f"{who} has lost that in {where}." if stop else f"{where} is shared with {who}.")
    elif not new_keys:
        _print(rows)


class _Who:
    """Somebody, as typed: a member, all below a path, or a key."""

    def __init__(self, text: str, places: Places, members: Sequence[Member]) -> None:
        self.text = text
        self.member: Member | None = None
        self.subject: PrincipalId | Path
        if text.startswith("/"):
            path = places.aliases().resolve(text)
            self.member = next((m for m in members if m.path == path), None)
            self.subject = self.member.principal if self.member else path
        else:
            self.subject = _key(text)
            found = (m for m in members if m.principal == self.subject)
            self.member = next(found, None)


async def _take_back(
    tree: OpenTree, where: TreePath, who: _Who, rights: Right, signer: Credential
) -> None:
    found = await find_directory(tree.files, where)
    sharing = tree.files.sharing
    done = await sharing.take_back(found.ino, signer, {who.subject}, rights, place=_place(found))
    if done is not None:
        _say_renewed(done)


async def _renew(tree: OpenTree, where: TreePath, signer: Credential) -> None:
    found = await find_directory(tree.files, where)
    _say_renewed(await tree.files.sharing.renew(found.ino, signer, place=_place(found)))


def _place(found: Found) -> tuple[int, bytes] | None:
    return (found.above[-1], found.name) if found.above else None


def _say_renewed(done: Renewed) -> None:
    say(f"{len(done.files):,} files and directories have new keys.")
    if done.kept:
        say(f"{len(done.kept):,} keep theirs: they are public, or have several names.")


async def _give(
    tree: OpenTree, where: TreePath, who: _Who, rights: Right, signer: Credential
) -> None:
    found = await find_directory(tree.files, where)
    readers = []
    if rights & Right.READ:
        if who.member is None:
            raise Fault(
                Kind.USAGE,
                "to read takes a key, and no member of the tree has that path or key",
                path=who.text,
                next_step="name one member, or give write and send only",
            )
        identity = read_chain(who.member.chain)
        readers = [identity.key]
        if where.names and not Right.READ & rights_of(identity, await _above(tree, where)):
            say(f"{who.text} finds {where} only when {where.parent} can be read, too.")
    if rights & Right.SEND:  # judged by who hosts actors there, by paths
        await publish(tree, where)
    await tree.files.sharing.give(found.ino, signer, [grant_to(who.subject, rights)], readers)


async def _above(tree: OpenTree, where: TreePath) -> list[Access]:
    """The accesses of the directories above, the root's first."""
    found = [await _access(tree, where, depth) for depth in range(len(where.names))]
    return [access for access in found if access is not None]


async def _access(tree: OpenTree, where: TreePath, depth: int) -> Access | None:
    found = await find_directory(tree.files, TreePath(where.place, where.names[:depth]))
    return await tree.files.sharing.access(found.ino)


async def _listed(tree: OpenTree, where: TreePath) -> list[dict[str, Any]]:
    """The grants that count in a directory, those of the root first."""
    rows: list[dict[str, Any]] = []
    members = await members_of(tree)
    for depth in range(len(where.names) + 1):
        above = TreePath(where.place, where.names[:depth])
        access = await _access(tree, where, depth)
        rows += _rows(access, above, where.place, members) if access else []
    return rows


def _rows(
    access: Access, where: TreePath, place: TreePlace, members: Sequence[Member]
) -> list[dict[str, Any]]:
    known = {member.principal: member.path for member in members}
    merged: dict[PrincipalId | Path, int] = {}
    for grant in access.grants:
        merged[_subject(grant)] = merged.get(_subject(grant), 0) | grant.rights
    rows = []
    for subject, rights in merged.items():
        if isinstance(subject, str):
            who: str = subject
        else:
            who = known.get(subject) or subject.hex()
        rows.append(
            {
                "who": place.shown(who),
                "everybody_below": isinstance(subject, str),
                "rights": [name for name, right in _RIGHTS.items() if rights & right],
                "from": str(where),
            }
        )
    return rows


def _print(rows: Sequence[dict[str, Any]]) -> None:
    print_table(("WHO", "MAY", "GIVEN IN"), [_line(row) for row in rows])


def _line(row: dict[str, Any]) -> tuple[str, str, str]:
    who = row["who"] + ("/**" if row["everybody_below"] else "")
    return who, ",".join(row["rights"]), row["from"]


def _subject(grant: Grant) -> PrincipalId | Path:
    subject = grant.principal or grant.path
    assert subject is not None
    return subject


def _rights(text: str) -> Right:
    rights = Right.NONE
    for word in filter(None, text.replace(",", " ").split()):
        if word not in _RIGHTS:
            raise Fault(Kind.USAGE, f"no right is called {word}", next_step=", ".join(_RIGHTS))
        rights |= _RIGHTS[word]
    return rights


def _key(text: str) -> PrincipalId:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(text) != _HEX_KEY or len(key) * 2 != _HEX_KEY:
        what = f"{text!r} is neither a path nor a key of 64 hexadecimal digits"
        raise Fault(Kind.USAGE, what, next_step="bt share --help")
    return PrincipalId(key)
