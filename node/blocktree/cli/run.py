"""`bt run`: have the tree run an actor."""

import asyncio
from pathlib import Path as File

import click

from blocktree.actors.actor import played
from blocktree.actors.examine import examine
from blocktree.cli.actorpaths import described, tree_path
from blocktree.cli.asking import address_option
from blocktree.cli.contractfile import load
from blocktree.cli.mkdir import make_all
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.cli.publishing import publish
from blocktree.cli.session import OpenTree, Session, run
from blocktree.cli.treefolder import new_permissions
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.cli.trees import find_directory
from blocktree.contract import Role, raise_first
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree.services.deploy import check_source, deploy
from blocktree.services.upgrade import judge_upgrade
from blocktree.store.place_messages import (
    ListRunning,
    RunList,
)

_SECONDS = 10.0
_STARTED_SECONDS = 20.0
_POLL_SECONDS = 0.25


@click.command("run")
@click.argument("code", metavar="FILE.py:CLASS")
@click.option("--at", "at", required=True, metavar="PATH", help="The path at which it answers.")
@click.option("--on", "on", metavar="NODE", help="The node that runs it while it lives.")
@click.option("--only", is_flag=True, help="With --on: no other node, also when that one is away.")
@click.option("--replace", is_flag=True, help="Replace what runs there; its state is kept.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it runs.")
@address_option
def command(
    code: str,
    at: str,
    on: str | None,
    addresses: tuple[str, ...],
    *,
    only: bool,
    replace: bool,
    no_wait: bool,
) -> None:
    """Have the tree run an actor: on one node, and on another when that one dies.

    With --on it begins on that node; with --only, it waits for that node to come back.

    The code is written into the tree as PATH.py, signed by you, and readable for those who keep
    the tree, since they run it. Nodes verify it before it runs. A contract that it plays is
    checked first; with --replace, one that would break somebody that lives is refused.

    \b
    Examples:
      bt run thermostat.py:Thermostat --at /home/services/thermostat
      bt run counter.py:Counter --at /home/services/counter --on pi-2 --replace
    """  # noqa: D301
    file, mark, cls = code.rpartition(":")
    if not mark or not cls.isidentifier():
        raise Fault(Kind.USAGE, "which class of it?", path=code, next_step="FILE.py:Class")
    source = _read(File(file))
    check_source(source, cls, file)
    roles = _roles(source, file, cls)
    where = parse_tree_path(at, here())
    if not where.names:
        raise Fault(Kind.USAGE, "an actor needs a name in the tree", path=at)
    if only and not on:
        raise Fault(Kind.USAGE, "which node?", next_step="--on NODE --only")

    async def work(session: Session) -> None:
        tree = await session.tree(where.place)
        node = _node(tree, on) if on else ""
        await make_all(tree.files, where.parent)
        await _publish(tree, where)
        directory = await find_directory(tree.files, where.parent)
        path, own = tree_path(where), new_permissions(0o644)
        if replace:
            await _judge(tree, path, roles)
        await deploy(
            tree.files,
            directory.ino,
            path,
            source,
            cls,
            permissions=own,
            on=node,
            only=only,
            replace=replace,
        )
        say(f"{where} is to run: its code is {where}.py")
        if not no_wait:
            await _wait(tree, path, where)

    run(work, addresses)


def _roles(source: bytes, file: str, cls: str) -> tuple[Role, ...]:
    """What the actor plays, if that is right; code that cannot be run here is left to the node.

    Raises:
        Fault: CONTRACT with the line that is wrong.
    """
    if b"@plays" not in source:
        return ()
    try:
        module = load(file)
    except Fault as fault:
        say(f"Its contract was not checked: {fault}")
        return ()
    raise_first(examine(module))
    return played(getattr(module, cls))[0]


async def _judge(tree: OpenTree, path: Path, roles: tuple[Role, ...]) -> None:
    """Refuse new code whose contract would break somebody who lives.

    Raises:
        Fault: CONTRACT.
    """
    if roles:
        root = Path(f"/{tree.place.tree()}")
        service = tree.client.paths.service
        await judge_upgrade(tree.client.runtime, service, root, path, roles)


def _read(file: File) -> bytes:
    try:
        return file.read_bytes()
    except OSError as cause:
        raise Fault(Kind.NOT_FOUND, cause.strerror or str(cause), path=str(file)) from None


def _node(tree: OpenTree, name: str) -> Path:
    """The node that a person means: its path, or its last name."""
    nodes = tree.client.nodes()
    meant = name.replace(f"/{tree.place.alias}", f"/{tree.place.tree()}", 1)
    for path in nodes:
        if meant in (path, path.rpartition("/")[2]):
            return path
    known = ", ".join(path.rpartition("/")[2] for path in nodes)
    raise Fault(Kind.NOT_FOUND, "no such node", path=name, next_step=f"known: {known}")


async def _publish(tree: OpenTree, where: TreePath) -> None:
    """Name the directories above in public, as far as this user may: rights there count then."""
    try:
        await publish(tree, where.parent)
    except Fault as fault:
        if fault.kind not in (Kind.DENIED, Kind.CONTRACT):
            raise


async def _answers(tree: OpenTree, path: Path) -> bool:
    try:
        await described(tree, path)
    except Fault as fault:
        return fault.kind is Kind.DENIED  # it answers, but not to us
    return True


async def _wait(tree: OpenTree, path: Path, where: TreePath) -> None:
    service = tree.client.paths.service
    try:
        async with asyncio.timeout(_STARTED_SECONDS):
            while True:
                listed = await service.ask(ListRunning(), RunList, patience_s=_SECONDS)
                found = [one for one in listed.runs if one.path == path and one.process]
                if found and await _answers(tree, path):
                    say(f"It runs on {found[0].process.rpartition('/')[2]}.")
                    return
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise Fault(
            Kind.UNREACHABLE,
            "no node runs it yet",
            path=str(where),
            next_step=f"bt ps, bt logs {where}",
        ) from None
