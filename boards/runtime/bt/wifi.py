"""Joining the Wi-Fi that the pairing named, on boards that have one, and again when it was lost."""

import asyncio

from bt.tasks import spawn

_PATIENCE = 20
_LOOK = 10


def joining(identity):
    """A coroutine function that returns once the board is on the network; None without Wi-Fi."""
    try:
        import network
    except ImportError:
        return None  # this machine looks after its own network
    if not hasattr(network, "WLAN"):
        return None
    return Wifi(network.WLAN(network.STA_IF), identity).online


class Wifi:
    """The station side of the radio.

    Args:
        station: as `network.WLAN(network.STA_IF)` gives it.
        identity: its `wifi` is the name and the password.
    """

    def __init__(self, station, identity):
        self._station = station
        self._identity = identity
        self._joining = asyncio.Lock()
        self._kept = False

    async def online(self):
        """Return once it is joined; raises OSError if that does not come about."""
        async with self._joining:  # links ask at the same time
            await self._join()
        if not self._kept:
            self._kept = True
            spawn(self._keep())

    async def _join(self):
        if self._station.isconnected():
            return
        name, password = self._identity.wifi
        if not name:
            raise OSError("no Wi-Fi was named; pair it again with --wifi")
        self._station.active(True)
        self._station.connect(name, password)
        for _ in range(10 * _PATIENCE):
            if self._station.isconnected():
                return
            await asyncio.sleep(0.1)
        self._station.disconnect()
        raise OSError("the Wi-Fi does not answer")

    async def _keep(self):
        while True:
            await asyncio.sleep(_LOOK)
            try:
                async with self._joining:
                    await self._join()
            except OSError:
                pass  # looked at again in ten seconds
