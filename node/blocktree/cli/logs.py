"""`bt logs`: what an actor that the tree runs has printed."""

import asyncio

import click

from blocktree.cli.actorpaths import tree_path
from blocktree.cli.asking import address_option
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.cli.session import OpenTree, Session, interruptible, run
from blocktree.cli.treepaths import parse_tree_path
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path
from blocktree.services.run_messages import SERVICES_ACTOR, LogLines, ReadLog
from blocktree.store.place_messages import ListRunning, RunList

_SECONDS = 10.0
_NODE_SECONDS = 5.0
_POLL_SECONDS = 0.5


@click.command("logs")
@click.argument("path", metavar="PATH")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it prints, until Ctrl-C.")
@address_option
def command(path: str, addresses: tuple[str, ...], *, follow: bool) -> None:
    """Print the last lines that an actor printed or logged.

    \b
    Examples:
      bt logs /home/services/thermostat
      bt logs /home/services/backup --follow
    """  # noqa: D301
    where = parse_tree_path(path, here())

    async def work(session: Session) -> None:
        tree = await session.tree(where.place)
        at, process, last = tree_path(where), Path(""), 0
        while True:
            now = await _process(tree, at)
            if not now and not follow:
                raise Fault(Kind.NOT_FOUND, "runs nowhere now", path=path, next_step="bt ps")
            if now and now != process:
                if process:
                    say(f"It runs on {now.rpartition('/')[2]} now.")
                process, last = now, 0
            if now:
                last = await _print(tree, at, process, last, follow=follow)
            if not follow:
                return
            await asyncio.sleep(_POLL_SECONDS)

    with interruptible():
        run(work, addresses, leaderless=False)


async def _process(tree: OpenTree, at: Path) -> Path:
    listed = await tree.client.paths.service.ask(ListRunning(), RunList, patience_s=_SECONDS)
    return Path(next((one.process for one in listed.runs if one.path == at), ""))


async def _print(tree: OpenTree, at: Path, process: Path, last: int, *, follow: bool) -> int:
    to = Address(process, SERVICES_ACTOR)
    try:
        answer = await tree.client.runtime.ask(
            to, ReadLog(at, last), LogLines, timeout=_NODE_SECONDS
        )
    except Fault as fault:
        if not follow or fault.kind is Kind.DENIED:
            raise
        return last  # it may be moving just now
    for line in answer.lines:
        click.echo(line)
    return answer.last
