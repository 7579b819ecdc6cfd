"""A computer whose card was written anew: another key under the path of one that still counts."""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path as File

import pytest

from blocktree.fault import Fault
from blocktree.keys import member_of
from blocktree.names import FileId
from blocktree.store import messages as m
from blocktree.store.roster import node_id
from store.test_removal import hears, owner_of
from store.world import in_loop, until, world


@in_loop
async def test_a_new_key_under_an_old_path_is_not_taken_for_the_old_one(
    tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world(tmp_path) as place:
        client, owner = await place.client(), await owner_of(place)
        signed = await client.write(FileId(b"f" * 16), blob=b"before" * 50_000)
        name = next(each for each in place.nodes if each != place.leader())
        lost = place.nodes[name].credential.identity
        await place.crash(name)
        shutil.rmtree(tmp_path / name)
        early = await place.add(name)
        assert "another member has this path" in await hears(early)
        await asyncio.sleep(1)  # the leader finds it where the old one was
        assert "acknowledged here" not in caplog.text
        await place.crash(name)
        shutil.rmtree(tmp_path / name)
        await owner.ask(m.Remove(lost.principal), m.Removed)
        assert f"remove the other first: bt node remove {name}" in caplog.text
        replica = (await place.add(name)).store.replica
        await until(lambda: place.voters() == 3)
        assert replica.path_of(replica.me) == replica.runtime.here
        replica.tree.roster.expect(member_of(lost))  # as it does where the log tells of the past
        assert replica.path_of(node_id(lost.principal)) is None
        with contextlib.suppress(Fault):  # it need not be complete yet
            replica.driver.transfer(replica.me)
        await client.write(FileId(b"f" * 16), signed, blob=b"after" * 50_000)
        await place.settled()
        assert await client.version(FileId(b"f" * 16)) == 2
    assert "only nodes speak here" not in caplog.text
