"""Waiting until a file or socket can be read: what asyncio spells differently here and there."""

import asyncio
import sys

if sys.implementation.name == "micropython":
    from asyncio import core

    def readable(stream):
        """Wait until there is something to read."""
        yield core._io_queue.queue_read(stream)  # noqa: SLF001 - streams do just this

else:

    async def readable(stream):
        """Wait until there is something to read."""
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(stream.fileno(), came.set)
        try:
            await came.wait()
        finally:
            loop.remove_reader(stream.fileno())
