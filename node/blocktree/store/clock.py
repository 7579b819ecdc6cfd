"""The clock that leases are counted by, on both sides."""

import time


def boot_clock() -> float:
    """Seconds that also count while the machine sleeps.

    A laptop whose lid was closed must find its leases over: `time.monotonic` stands still then.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
