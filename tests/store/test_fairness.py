"""Nobody waits for good because others ask again and again."""

import asyncio
from pathlib import Path as File

from blocktree.names import ROOT_FILE
from store.world import Client, in_loop, world


async def read_on(client: Client) -> None:
    """Read a directory's header again whenever the last answer is there."""
    while True:
        await client.read(ROOT_FILE, session=client.session)


@in_loop
async def test_eager_readers_do_not_keep_a_directory_from_who_wants_it_for_itself(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1) as place:
        readers = [await place.client(f"reader-{number}") for number in range(3)]
        tasks = [asyncio.create_task(read_on(reader)) for reader in readers for _ in range(4)]
        await asyncio.sleep(0.1)
        one, other = await place.client("one"), await place.client("other")
        async with asyncio.timeout(10):
            for _ in range(5):  # also if two want it at once
                for found in await asyncio.gather(
                    *(c.read(ROOT_FILE, session=c.session, exclusive=True) for c in (one, other))
                ):
                    assert found.headers[0]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
