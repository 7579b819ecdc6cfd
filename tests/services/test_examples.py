"""The examples do what they say, on three nodes."""

import asyncio
from functools import partial
from pathlib import Path as File

from blocktree.actors import Actor, Call, receives
from blocktree.actors.description import Describe, Description
from blocktree.examples import backup, counter, thermostat
from blocktree.examples.backup import Backup
from blocktree.examples.thermostat import Reading, Set, Switch
from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO
from blocktree.names import Path
from services.test_running import OWN, files_of, run
from services.town import Townsman, townsman
from store.world import in_loop, until, world

EXAMPLES = (backup, counter, thermostat)


class Heater(Actor):
    def __init__(self) -> None:
        self.switched: list[bool] = []

    @receives
    def switch(self, message: Switch, call: Call) -> None:
        self.switched.append(message.on)


def test_each_example_is_shorter_than_eighty_lines() -> None:
    for module in EXAMPLES:
        assert module.__file__ is not None
        assert len(File(module.__file__).read_text().splitlines()) < 80


@in_loop
async def test_the_thermostat_hears_the_sensor_and_tells_the_heater(tmp_path: File) -> None:
    assert thermostat.__file__ is not None
    async with world(tmp_path) as tree:
        ann = await townsman(tree, "laptop")
        heater = Heater()
        await ann.runtime.spawn("heater", heater)
        await ann.paths.registrar.hold(tree.path("heater"), "heater")
        source = File(thermostat.__file__).read_bytes()  # noqa: ASYNC240 - a test
        path = await run(tree, "thermostat", source, "Thermostat")
        await ask(ann, path, Set(21.0, "/home/heater"))
        for celsius in (20.0, 20.8, 21.4, 21.6, 21.0, 20.4):
            await ann.runtime.tell(path, Reading(celsius))
        said = await ann.runtime.ask(path, Describe(), Description)
        assert said.latest == "20.4 °C, wished 21.0 °C"
        await until(lambda: heater.switched == [True, False, True])


async def ask(ann: Townsman, path: Path, message: Set) -> None:
    """Ask until it runs."""
    async with asyncio.timeout(60):
        while True:
            try:
                await ann.runtime.ask(path, message, timeout=2)
            except Fault as fault:
                if fault.kind not in (Kind.UNREACHABLE, Kind.BUSY):
                    raise
            else:
                return
            await asyncio.sleep(0.05)


def holds(kept: File, content: bytes) -> bool:
    return any(copy.read_bytes() == content for copy in kept.iterdir())


@in_loop
async def test_the_backup_copies_each_version(tmp_path: File) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    async with world(tmp_path / "nodes") as tree, files_of(tree) as files:
        ann = await townsman(tree, "laptop")
        await ann.runtime.spawn("backup", Backup(files, ROOT_INO, kept))
        _, handle = await files.create(ROOT_INO, b"letter", OWN, 1)
        for version in (b"first", b"second"):
            await files.write(handle, 0, version)
            await files.fsync(handle)
            await until(partial(holds, kept, version))
        await files.release(handle)
        await ann.runtime.stop("backup")
        assert sorted(c.read_bytes() for c in kept.iterdir()) == [b"first", b"second"]
