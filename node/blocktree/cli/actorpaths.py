"""What a person types for an actor: the path at which it answers, or `PROCESS#NAME`."""

from blocktree.actors.description import Describe, Description
from blocktree.cli.places import Places
from blocktree.cli.session import OpenTree, Session
from blocktree.cli.treepaths import TreePath, parse_tree_path, printable
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path, parse_name, parse_path
from blocktree.services.speaking import Said, parse_fields, read_answer, write_message
from blocktree.wire import Opaque

ASK_SECONDS = 10.0


def tree_path(path: TreePath) -> Path:
    """The path as every process of the tree knows it."""
    names = [printable(name) for name in path.names]
    return parse_path("/" + "/".join([path.place.tree(), *names]))


class ActorPath:
    """An actor of a tree, as it was typed."""

    def __init__(self, text: str, places: Places) -> None:
        where, mark, actor = text.partition("#")
        self.text = text
        self.path = parse_tree_path(where, places)
        if not self.path.names:
            raise Fault(Kind.USAGE, "a tree is no actor", path=text)
        self.actor = parse_name(actor) if mark else ""

    @property
    def to(self) -> Address | Path:
        """Where messages go."""
        at = tree_path(self.path)
        return Address(at, self.actor) if self.actor else at

    def __str__(self) -> str:
        return self.text


async def described(tree: OpenTree, to: Address | Path) -> Description:
    """What an actor says of itself.

    Raises:
        Fault: UNREACHABLE, DENIED.
    """
    return await tree.client.runtime.ask(to, Describe(), Description, timeout=ASK_SECONDS)


async def ask(
    session: Session, target: ActorPath, name: str, words: tuple[str, ...], seconds: float
) -> Said:
    """Ask an actor something that was typed.

    Raises:
        Fault: what it answers; USAGE for what it does not take.
    """
    tree = await session.tree(target.path.place)
    description = await described(tree, target.to)
    message = write_message(description, name, parse_fields(words))
    answer = await tree.client.runtime.ask(target.to, message, Opaque, timeout=seconds)
    return read_answer(description, answer.data)


async def tell(session: Session, target: ActorPath, name: str, words: tuple[str, ...]) -> None:
    """Send an actor something that was typed."""
    tree = await session.tree(target.path.place)
    description = await described(tree, target.to)
    message = write_message(description, name, parse_fields(words))
    await tree.client.runtime.tell(target.to, message, timeout=ASK_SECONDS)
    await described(tree, target.to)  # told messages go in order: it has this one now
