"""When what a process does again and again is due: at common moments, so that it wakes once."""

import asyncio


def until_beat(now: float, every: float) -> float:
    """Seconds until a multiple of `every` on this clock, at least a quarter of `every` away.

    A timer may ring a moment early; the beat that it rang for is not due again then.

    Args:
        now: seconds.
        every: seconds, more than 0.
    """
    left = every - now % every
    return left if left >= every / 4 else left + every


async def beat(every: float) -> None:
    """Sleep until the next beat of `every` seconds."""
    await asyncio.sleep(until_beat(asyncio.get_running_loop().time(), every))
