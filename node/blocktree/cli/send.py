"""`bt send`: send a message to an actor."""

import click

from blocktree.cli.actorpaths import ActorPath, tell
from blocktree.cli.asking import address_option
from blocktree.cli.places import here
from blocktree.cli.session import Session, run


@click.command("send")
@click.argument("path", metavar="PATH")
@click.argument("message", metavar="MESSAGE")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@address_option
def command(path: str, message: str, fields: tuple[str, ...], addresses: tuple[str, ...]) -> None:
    """Send a message to an actor and do not wait for what comes of it.

    `bt ask PATH` says which messages it takes.

    \b
    Examples:
      bt send /home/lamps/hall Switch on=true
      bt send /home/services/thermostat Set celsius=20.5
    """  # noqa: D301
    target = ActorPath(path, here())

    async def work(session: Session) -> None:
        await tell(session, target, message, fields)

    run(work, addresses, leaderless=False)
