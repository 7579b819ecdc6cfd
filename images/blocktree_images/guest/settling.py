"""Each start begins here: the data partition grows, and what the card says is applied.

Whatever goes wrong is said on the card and does not keep the rest from happening: a board that
stays silent helps nobody.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.card.settings import Settings
from blocktree_images.guest.applying import apply, start_services
from blocktree_images.guest.card import Card
from blocktree_images.guest.growth import grow
from blocktree_images.guest.joining import keep_settings, kept_settings, prepare
from blocktree_images.guest.place import Place, call, write

log = logging.getLogger(__name__)

_CARD_SECONDS = 600.0
_DATA_SECONDS = 300.0
_PAUSE_SECONDS = 3.0


def settle(place: Place) -> tuple[str, ...]:
    """Do it all; what went wrong, each a sentence."""
    problems: list[str] = []
    card = Card(place)
    works: tuple[tuple[str, Callable[[], object]], ...] = (
        ("data partition", lambda: data(place)),
        ("card", lambda: card.mount(_CARD_SECONDS)),
        ("settings", lambda: take(card, place)),
    )
    for what, work in works:
        try:
            work()
        except (Fault, OSError, ValueError) as cause:
            log.error("%s: %s", what, cause)  # noqa: TRY400 - a sentence for people
            problems.append(f"{what}: {cause}")
    write(problems_file(place), "\n".join(problems))
    return tuple(problems)


def problems_file(place: Place) -> Path:
    """Where the next step reads what went wrong in this one."""
    return place.root / "run" / "blocktree-problems"


def data(place: Place) -> None:
    """Make sure that the data partition is mounted and as large as the card allows.

    Raises:
        Fault: MISSING if it cannot be mounted; as `grow`.
    """
    deadline = time.monotonic() + _DATA_SECONDS
    while not os.path.ismount(place.data):
        done = call("systemctl", "start", "data.mount", seconds=_DATA_SECONDS)
        if done.returncode and time.monotonic() > deadline:
            what = f"the data partition cannot be mounted: {done.stderr.strip()}"
            raise Fault(Kind.MISSING, what, next_step="write the card anew, or use another one")
        if done.returncode:
            time.sleep(_PAUSE_SECONDS)
    if grow():
        log.info("the data partition fills the card now")


def take(card: Card, place: Place) -> None:
    """Apply what the card says, or what it said earlier.

    Raises:
        Fault: MALFORMED for settings or a ticket that make no sense, CONFLICT for another node's.
    """
    found = card.settings()
    settings = merged(found[1], kept_settings(place)) if found else kept_settings(place)
    if changed := apply(settings, place, now=time.time()):
        log.info("new: %s", ", ".join(changed))
    start_services(settings)
    if found:
        keep_settings(settings, place)
    if settings.ticket:
        prepare(settings, place)


def merged(new: Settings, old: Settings) -> Settings:
    """The new settings; what they leave empty stays as it was."""
    return Settings(
        new.hostname or old.hostname,
        new.timezone or old.timezone,
        new.wifi or old.wifi,
        new.ssh_keys or old.ssh_keys,
        new.ticket,
        new.addresses,
        max(new.clock, old.clock),
    )
