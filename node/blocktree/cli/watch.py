"""`bt watch`: one line for each change of a file, a directory or an actor."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping

import click

from blocktree.cli.actorpaths import ActorPath, described
from blocktree.cli.asking import address_option
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.cli.session import OpenTree, Session, interruptible, run
from blocktree.cli.treepaths import TreePath, parse_tree_path, printable
from blocktree.cli.trees import find_if_there, listing
from blocktree.fault import Fault, Kind
from blocktree.files.volume import Attributes, NodeKind

_FILE_SECONDS = 0.2  # what is leased here is looked at without asking anybody
_ACTOR_SECONDS = 0.5
Snapshot = Mapping[str, str]  # what is watched, to how it is


@click.command("watch")
@click.argument("path", metavar="PATH")
@click.option("--run", "shell", metavar="CMD", help="Run this for each change, one at a time.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many changes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@address_option
def command(
    path: str,
    shell: str | None,
    count: int | None,
    addresses: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Print one line for each change at a path: of a file, of what is in a directory, or of what
    an actor says of itself. With --run a command is run for each; it finds the path, what
    happened and how it is now in $BT_PATH, $BT_EVENT and $BT_NOW.

    \b
    Examples:
      bt watch /home/photos
      bt watch /home/sensors/attic
      bt watch /home/inbox --run 'bt cp "$BT_PATH" ~/inbox/'
    """  # noqa: D205, D301
    places = here()
    where = parse_tree_path(path.partition("#")[0], places)

    async def work(session: Session) -> None:
        tree = await session.tree(where.place)
        seen = 0
        async for event, at, now in _changes(tree, where, path):
            _say(event, at, now, as_json=as_json)
            if shell is not None:
                await _react(shell, event, at, now)
            seen += 1
            if count is not None and seen >= count:
                return

    with interruptible():
        run(work, addresses, leaderless=False)


async def _changes(
    tree: OpenTree, where: TreePath, typed: str
) -> AsyncIterator[tuple[str, str, str]]:
    """What happened, to what, and how it is now; without end."""
    before = await _look(tree, where, typed)
    while True:
        kind = "#" in typed or any(each.startswith("actor ") for each in before.values())
        await asyncio.sleep(_ACTOR_SECONDS if kind or not before else _FILE_SECONDS)
        now = await _look(tree, where, typed)
        for at in sorted({*before, *now}):
            if at not in now:
                yield "removed", at, ""
            elif at not in before:
                yield "created", at, now[at]
            elif before[at] != now[at]:
                yield "changed", at, now[at]
        before = now


async def _look(tree: OpenTree, where: TreePath, typed: str) -> Snapshot:
    if "#" in typed:
        return await _look_at_actor(tree, typed)
    found = await find_if_there(tree.files, where)
    if found is None or found.attributes.kind is NodeKind.ACTOR:
        return await _look_at_actor(tree, typed)
    if not found.is_directory:
        return {str(where): _how(found.attributes)}
    entries = await listing(tree.files, found.ino, attributes=True)
    return {
        str(where.below(entry.name)): _how(entry.attributes) if entry.attributes else "there"
        for entry in entries
    }


async def _look_at_actor(tree: OpenTree, typed: str) -> Snapshot:
    try:
        said = await described(tree, ActorPath(typed, here()).to)
    except Fault as fault:
        if fault.kind in (Kind.UNREACHABLE, Kind.BUSY, Kind.FAILED, Kind.STOPPED):
            return {}
        raise
    words = [text for text in (said.condition, said.latest) if text]
    return {typed: " ".join(["actor", *dict.fromkeys(words)])}


def _how(attributes: Attributes) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attributes.mtime_ns / 1e9))
    part = f"{attributes.mtime_ns % 1_000_000_000:09d}"[:3]
    return f"{attributes.kind.name.lower()} {attributes.size} B {stamp}.{part}"


def _say(event: str, at: str, now: str, *, as_json: bool) -> None:
    if as_json:
        line = {"schema": "bt.change/1", "event": event, "path": at, "now": now}
        click.echo(json.dumps(line))
    else:
        click.echo(f"{event}  {printable(at.encode())}  {printable(now.encode())}".rstrip())


async def _react(shell: str, event: str, at: str, now: str) -> None:
    seen = {"BT_EVENT": event, "BT_PATH": at, "BT_NOW": now}
    process = await asyncio.create_subprocess_shell(shell, env={**os.environ, **seen})
    if code := await process.wait():
        say(f"the command ended with code {code}")
