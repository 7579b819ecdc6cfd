"""`bt ls`: list directories and files of a tree, without a mount."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.describing import (
    attributes_json,
    group_name,
    mode_text,
    name_json,
    time_text,
    user_name,
)
from blocktree.cli.output import print_json
from blocktree.cli.places import Places, here
from blocktree.cli.session import Session, each, run
from blocktree.cli.treepaths import TreePath, parse_tree_path, printable
from blocktree.cli.trees import find, listing
from blocktree.files.volume import Attributes, NodeKind, Volume

_COLOURS = {NodeKind.DIRECTORY: "blue", NodeKind.SYMLINK: "cyan", NodeKind.ACTOR: "magenta"}
_MARKS = {NodeKind.DIRECTORY: "/", NodeKind.SYMLINK: "@"}


@dataclass(frozen=True, slots=True)
class Line:
    """One name to print; attributes and target only if they were asked for."""

    name: bytes
    kind: NodeKind
    attributes: Attributes | None = None
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a path given on the command line showed."""

    path: str
    lines: Sequence[Line]
    directory: bool


@click.command("ls")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("-l", "long", is_flag=True, help="One line each: mode, owner, size, time.")
@click.option("-a", "every", is_flag=True, help="Show names that start with a dot, too.")
@address_option
@json_option
def command(
    paths: tuple[str, ...], addresses: tuple[str, ...], *, long: bool, every: bool, as_json: bool
) -> int:
    """List directories and files. Without PATH, the root of this machine's tree.

    \b
    Examples:
      bt ls                     the only tree's root
      bt ls -l /home/photos
      bt ls /                   the trees that this machine knows
      bt ls --json /home | jq -r '.entries[].path'
    """  # noqa: D301
    places = here()
    if paths == ("/",):
        _print_trees(places, as_json=as_json)
        return 0
    wanted = [parse_tree_path(path, places) for path in paths]
    wanted = wanted or [TreePath(places.only_tree(), ())]
    listings: list[Listing] = []
    detail = long or as_json

    async def work(session: Session) -> int:
        async def one(path: TreePath) -> None:
            tree = await session.tree(path.place)
            listings.append(await look(tree.files, path, detail=detail, every=every))

        return await each(wanted, one)

    code = run(work, addresses)
    if as_json:
        _print_json(listings)
    else:
        _print(listings, long=long, headed=len(wanted) > 1)
    return code


async def look(files: Volume, path: TreePath, *, detail: bool, every: bool) -> Listing:
    """What `ls` shows of one path."""
    found = await find(files, path, follow=not detail)
    if not found.is_directory:
        target = await _target(files, found.attributes)
        return Listing(
            str(path), [Line(path.leaf, found.attributes.kind, *target)], directory=False
        )
    entries = await listing(files, found.ino, attributes=detail)
    lines = []
    for entry in entries:
        if entry.name.startswith(b".") and not every:
            continue
        if entry.attributes is None:
            lines.append(Line(entry.name, entry.kind))
        else:
            target = await _target(files, entry.attributes)
            lines.append(Line(entry.name, entry.kind, *target))
    return Listing(str(path), lines, directory=True)


async def _target(files: Volume, attributes: Attributes) -> tuple[Attributes, bytes]:
    if attributes.kind is not NodeKind.SYMLINK:
        return attributes, b""
    return attributes, await files.readlink(attributes.ino)


def _print_trees(places: Places, *, as_json: bool) -> None:
    trees = places.trees()
    if as_json:
        rows = [{"path": f"/{place.alias}", "tree": place.tree()} for place in trees]
        print_json("ls", {"entries": [{**row, "kind": "tree"} for row in rows]})
        return
    for place in trees:
        click.echo(f"/{place.alias}")


def _print_json(listings: Sequence[Listing]) -> None:
    print_json("ls", {"entries": [_entry(one, line) for one in listings for line in one.lines]})


def _entry(one: Listing, line: Line) -> dict[str, Any]:
    path = f"{one.path}/{printable(line.name)}" if one.directory else one.path
    entry: dict[str, Any] = {"path": path, **name_json(line.name)}
    if line.attributes is not None:
        entry |= attributes_json(line.attributes)
    if line.target:
        entry["target"] = printable(line.target)
    return entry


def _print(listings: Sequence[Listing], *, long: bool, headed: bool) -> None:
    files = [line for one in listings if not one.directory for line in one.lines]
    _print_lines(files, long=long)
    for number, one in enumerate([one for one in listings if one.directory]):
        if headed:
            click.echo(("\n" if number or files else "") + f"{one.path}:")
        _print_lines(one.lines, long=long)


def _print_lines(lines: Sequence[Line], *, long: bool) -> None:
    if long:
        _print_long(lines)
    elif sys.stdout.isatty():
        _print_columns(lines)
    else:  # exactly the bytes of each name, for programs
        click.echo(b"".join(line.name + b"\n" for line in lines), nl=False)


def _print_long(lines: Sequence[Line]) -> None:
    rows = [
        (
            mode_text(line.attributes),
            str(line.attributes.links),
            user_name(line.attributes.uid),
            group_name(line.attributes.gid),
            str(line.attributes.size),
            time_text(line.attributes.mtime_ns),
            _coloured(printable(line.name), line.kind)
            + (f" -> {printable(line.target)}" if line.target else ""),
        )
        for line in lines
        if line.attributes is not None
    ]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(5)]
    for mode, links, user, group, size, when, name in rows:
        click.echo(
            f"{mode} {links:>{widths[1]}} {user:<{widths[2]}} {group:<{widths[3]}} "
            f"{size:>{widths[4]}} {when} {name}"
        )


def _print_columns(lines: Sequence[Line]) -> None:
    """Names down the columns of a terminal, as `ls` does."""
    names = [printable(line.name) + _MARKS.get(line.kind, "") for line in lines]
    if not names:
        return
    width = max(map(len, names)) + 2
    across = max(1, shutil.get_terminal_size().columns // width)
    down = -(-len(names) // across)
    for row in range(down):
        cells = []
        for at in range(row, len(names), down):
            pad = " " * (width - len(names[at]))
            cells.append(_coloured(names[at], lines[at].kind) + pad)
        click.echo("".join(cells).rstrip())


def _coloured(name: str, kind: NodeKind) -> str:
    return click.style(name, fg=_COLOURS.get(kind))
