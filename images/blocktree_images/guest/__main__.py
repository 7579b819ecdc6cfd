"""`blocktree-firstboot settle | join | keep DIR`: what the board's units run."""

import logging
import sys
import time
from pathlib import Path

from blocktree.fault import Fault
from blocktree_images.guest.place import Place

log = logging.getLogger("blocktree_images.guest")

_CARD_SECONDS = 600.0
_RETRY_SECONDS = 10.0


def main(words: list[str]) -> int:
    """Run one phase; the exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    match words:
        case ["settle"]:
            from blocktree_images.guest.settling import settle  # noqa: PLC0415 - each start

            settle(Place())
        case ["join"]:
            join(Place())
        case ["keep", folder]:
            from blocktree_images.guest.keeping import run  # noqa: PLC0415

            return run(Path(folder))
        case _:
            log.error("usage: blocktree-firstboot settle | join | keep DIR")
            return 2
    return 0


def join(place: Place) -> None:
    """Follow the node until it has joined; the card is waited for as long as it takes."""
    from blocktree_images.guest.card import Card  # noqa: PLC0415 - `keep` needs none of it
    from blocktree_images.guest.joining import follow  # noqa: PLC0415
    from blocktree_images.guest.settling import problems_file  # noqa: PLC0415

    card = Card(place)
    problems = tuple(problems_file(place).read_text().splitlines())
    while True:
        try:
            card.mount(_CARD_SECONDS)
            follow(place, card, problems)
        except (Fault, OSError) as cause:
            log.error("%s", cause)  # noqa: TRY400 - a sentence for people
            time.sleep(_RETRY_SECONDS)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
