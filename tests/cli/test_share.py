"""The right to send, given in a directory: it counts for the actors below at once."""

from blocktree.caps import Right, load_access
from blocktree.cli.places import here
from blocktree.cli.session import Session, run
from blocktree.names import Path
from blocktree.store.place_messages import AccessAt, GetAccess
from cli.conftest import Shell


def test_who_hosts_an_actor_finds_what_was_given_in_its_directory(home: Shell) -> None:
    home.ok("mkdir", "-p", "/home/hall/lamps")
    home.ok("share", "/home/hall/lamps", "--with", "/home/buttons", "--may", "send")
    place = here().tree_place("home")
    tree = f"/{place.tree()}"

    async def ask(session: Session) -> AccessAt:
        service = (await session.tree(place)).client.paths.service
        message = GetAccess(Path(f"{tree}/hall/lamps/ceiling"), Path(f"{tree}/sim-1"), "")
        return await service.ask(message, AccessAt)

    found = run(ask).accesses
    grants = [grant for each in found for grant in load_access(each).grants]
    assert (Path(f"{tree}/buttons"), Right.SEND) in [(g.path, g.rights) for g in grants]
    home.ok("rm", "-r", "/home/hall", "--yes", "hall")
