"""`bt stop`: have the tree run an actor no more."""

import click

from blocktree.cli.actorpaths import tree_path
from blocktree.cli.asking import address_option
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.cli.session import Session, each, run
from blocktree.cli.treepaths import TreePath, parse_tree_path
from blocktree.cli.trees import find, find_directory
from blocktree.fault import Fault, Kind
from blocktree.files.volume import NodeKind
from blocktree.store.place_messages import Forget, Forgotten

_SECONDS = 15.0


@click.command("stop")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--forget", is_flag=True, help="Drop the state that it keeps, too.")
@address_option
def command(paths: tuple[str, ...], addresses: tuple[str, ...], *, forget: bool) -> int:
    """Have the tree run an actor no more. Its code stays in the tree, and so does its state.

    \b
    Examples:
      bt stop /home/services/thermostat
      bt stop /home/services/counter --forget
    """  # noqa: D301
    places = here()
    wanted = [parse_tree_path(path, places) for path in paths]

    async def work(session: Session) -> int:
        async def one(path: TreePath) -> None:
            tree = await session.tree(path.place)
            found = await find(tree.files, path, follow=False)
            if found.attributes.kind is not NodeKind.ACTOR:
                raise Fault(Kind.USAGE, "is no actor that the tree runs", next_step="bt ps")
            directory = await find_directory(tree.files, path.parent)
            await tree.files.unlink(directory.ino, path.leaf)
            say(f"{path} is to run no more.")
            if forget:
                message = Forget(tree_path(path))
                await tree.client.paths.service.ask(message, Forgotten, patience_s=_SECONDS)

        return await each(wanted, one)

    return run(work, addresses)
