"""Checkpoints and how much of the log is left behind them."""

from pathlib import Path as File

from blocktree.names import FileId
from store.test_sweep import pull_the_plug
from store.world import in_loop, until, world


@in_loop
async def test_the_log_is_cut_also_soon_after_a_restart(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        client = await place.client()
        signed = None
        for _ in range(30):
            signed = await client.write(FileId(b"f" * 16), signed)
        node = place.nodes["pi-1"]
        await node.store.chores.checkpoints.write()
        mark = node.disk.saved().mark.index
        await pull_the_plug(place, "pi-1")
        node = await place.start("pi-1")
        await until(place.leader)
        for _ in range(3):
            signed = await client.write(FileId(b"f" * 16), signed)
        chores = node.store.chores
        applied = node.store.replica.driver.applied
        assert node.disk.log.first_index < applied - 25 < mark
        await chores.checkpoints.write(log_kept=25)  # who voted back then is not known any more
        assert node.disk.saved().mark.index == applied
        assert node.disk.log.first_index < mark
        await chores.checkpoints.write(log_kept=10)  # now the log is far too long
        assert node.disk.log.first_index == mark + 1
