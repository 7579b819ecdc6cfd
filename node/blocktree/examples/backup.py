"""Copies what changes in a directory of the tree to this machine, version by version.

python -m blocktree.examples.backup /home/documents ~/backup
"""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path as File

from blocktree.actors import Actor, Call, plays, receives
from blocktree.cli.places import here
from blocktree.cli.session import Session, run
from blocktree.cli.treefolder import read_file
from blocktree.cli.treepaths import parse_tree_path
from blocktree.cli.trees import find_directory, listing
from blocktree.contract import Contract, Role, State, hears, mirror
from blocktree.files.volume import NodeKind, Volume
from blocktree.wire import Record, record


@record(0xE020)
@dataclass(frozen=True, slots=True)
class Look(Record):
    """Look whether something changed."""


ROLE = Role("backup", State("looking", hears(Look)))
BACKUP = Contract("backup", 1, ROLE, mirror("itself"))


@plays(ROLE)
class Backup(Actor):
    """Looks every second: what is leased here is looked at without asking anybody."""

    def __init__(self, files: Volume, directory: int, target: File) -> None:
        self._files, self._directory, self._target = files, directory, target
        self._seen: dict[bytes, int] = {}

    async def started(self) -> None:
        """Look now, and from now on."""
        self.after(0.0, Look())
        self.every(1.0, Look())

    @receives
    async def look(self, message: Look, call: Call) -> None:
        """Copy what is new or has another time than when it was copied last."""
        for entry in await listing(self._files, self._directory, attributes=True):
            one = entry.attributes
            if one is None or one.kind is not NodeKind.FILE:
                continue
            if self._seen.get(entry.name) != one.mtime_ns:
                stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(one.mtime_ns / 1e9))
                name = f"{entry.name.decode()}.{stamp}.{one.mtime_ns % 10**9:09d}"
                async with contextlib.aclosing(read_file(self._files, one.ino)) as pieces:
                    content = b"".join([bytes(piece) async for piece in pieces])
                (self._target / name).write_bytes(content)
                self._seen[entry.name] = one.mtime_ns
                self.latest = name


async def keep(session: Session, source: str, target: File) -> None:
    """Back up until interrupted."""
    where = parse_tree_path(source, here())
    tree = await session.tree(where.place)
    directory = await find_directory(tree.files, where)
    await tree.client.runtime.spawn("backup", Backup(tree.files, directory.ino, target))
    await asyncio.Event().wait()


if __name__ == "__main__":
    kept = File(sys.argv[2]).expanduser()
    kept.mkdir(parents=True, exist_ok=True)
    run(lambda session: keep(session, sys.argv[1], kept))
