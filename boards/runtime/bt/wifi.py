"""Joining the Wi-Fi that the pairing named, on boards that have one."""

import asyncio

_PATIENCE = 20


def joining(identity):
    """A coroutine function that returns once the board is on the network."""
    try:
        import network
    except ImportError:
        return None  # this machine looks after its own network

    async def online():
        name, password = identity.wifi
        station = network.WLAN(network.STA_IF)
        if station.isconnected():
            return
        if not name:
            raise OSError("no Wi-Fi was named; pair it again with --wifi")
        station.active(True)
        station.connect(name, password)
        for _ in range(10 * _PATIENCE):
            if station.isconnected():
                return
            await asyncio.sleep(0.1)
        raise OSError("the Wi-Fi does not answer")

    return online
