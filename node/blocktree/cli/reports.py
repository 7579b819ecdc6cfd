"""How a tree is doing: what its nodes say of themselves, gathered for a person."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blocktree.cli.output import duration_text, size_text
from blocktree.cli.places import TreePlace, here
from blocktree.client import Client
from blocktree.fault import Fault
from blocktree.names import Aliases, Path
from blocktree.store.messages import Role, Status


@dataclass(frozen=True, slots=True)
class Report:
    """The statuses of all nodes of a tree, as they are now."""

    place: TreePlace
    aliases: Aliases
    statuses: Sequence[tuple[Path, Status | Fault]]

    @property
    def tree(self) -> str:
        """The tree's alias as a path."""
        return f"/{self.place.alias}"

    @property
    def answers(self) -> list[Status]:
        """The nodes that answered."""
        return [status for _, status in self.statuses if isinstance(status, Status)]

    @property
    def leader(self) -> Status | None:
        """The node that leads."""
        leading = [s for s in self.answers if s.role is Role.LEADER]
        return max(leading, key=lambda status: status.term, default=None)

    @property
    def voters(self) -> tuple[int, int]:
        """How many voters answer, and how many there are."""
        seen = max(self.answers, key=lambda s: (s.role is Role.LEADER, s.applied), default=None)
        if seen is None:
            return 0, len(self.statuses)
        voters = {peer.path for peer in seen.peers if peer.voter}
        if seen.role is not Role.LEARNER:
            voters.add(seen.path)
        return len(voters & {status.path for status in self.answers}), len(voters)


def find_tree(name: str) -> TreePlace:
    """The tree meant by `home`, `/home` or nothing (if there is only one)."""
    places = here()
    if not name.strip("/"):
        return places.only_tree()
    return places.tree_of(places.aliases().resolve("/" + name.strip("/")).split("/")[1])  # type: ignore[arg-type]


def gather(name: str, addresses: Sequence[str]) -> Report:
    """Ask every node of the tree how it is.

    Raises:
        Fault: UNREACHABLE if no node answers at all.
    """
    place = find_tree(name)
    statuses = asyncio.run(_statuses(place, addresses))
    return Report(place, here().aliases(), statuses)


async def _statuses(
    place: TreePlace, addresses: Sequence[str]
) -> list[tuple[Path, Status | Fault]]:
    client = Client(place.user(), seeds=[*addresses, *place.seeds()])
    try:
        await client.start()
        place.founded()
        statuses = await client.statuses()
        place.remember_seeds(client.addresses())
        return sorted(statuses, key=lambda each: each[0])
    finally:
        await client.close()


def node_report(report: Report, path: Path, status: Status | Fault) -> dict[str, Any]:
    """One node for a table or for JSON."""
    shown = report.aliases.display(path)
    if isinstance(status, Fault):
        gone = {"role": "away", "applied": 0, "blobs": 0, "used": "", "sync": "", "scrub": ""}
        return {"path": shown, **gone, "fault": status.what}
    return {
        "path": shown,
        "role": status.role.name.lower(),
        "term": status.term,
        "applied": status.applied,
        "committed": status.committed,
        "blobs": status.blobs,
        "bytes_used": status.bytes_used,
        "bytes_free": status.bytes_free,
        "resident_bytes": status.resident_bytes,
        "sync_us": status.sync_us,
        "used": size_text(status.bytes_used),
        "sync": duration_text(status.sync_us / 1e6),
        "faults": list(status.faults),
        "scrub_ended": status.scrubbed,
        "scrub_found": status.scrub_found,
        "scrub_left": status.scrub_left,
        "scrub": _scrub_text(status),
    }


def ago_text(then: int) -> str:
    """How long ago a time was (seconds since 1970; 0: never): `5 min ago`, `3 days ago`."""
    if not then:
        return "never"
    seconds = max(0, int(time.time()) - then)
    for unit, size in (("day", 86400), ("hour", 3600), ("min", 60)):
        count = seconds // size
        if count:
            plural = "s" if count > 1 and unit != "min" else ""
            return f"{count} {unit}{plural} ago"
    return "just now"


def _scrub_text(status: Status) -> str:
    """When everything was read last, and what that found."""
    found = f", {status.scrub_found} damaged" if status.scrub_found else ""
    left = f", {status.scrub_left} left" if status.scrub_left else ""
    mended = ", repaired" if found and not left else ""
    return f"{ago_text(status.scrubbed)}{found}{left}{mended}"
