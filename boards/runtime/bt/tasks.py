"""Tasks that nobody waits for, held until they end (CPython forgets what nobody holds)."""

import asyncio

_running = []


def spawn(coroutine):
    """Start a coroutine as a task and hold it; gives the task."""
    held = []

    async def run():
        try:
            return await coroutine
        finally:
            _running.remove(held)

    _running.append(held)
    held.append(asyncio.create_task(run()))
    return held[0]
