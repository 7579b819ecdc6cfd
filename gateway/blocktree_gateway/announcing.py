"""A gateway tells its network where devices reach it: `_btgateway._udp` by multicast DNS.

Devices without multicast DNS ask by broadcast instead (`SPEC.md` of the device runtime: hello).
"""

import asyncio
import logging

from zeroconf import Error, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from blocktree.keys import Credential
from blocktree.link.network import NetworkWatch, own_addresses
from blocktree.names import leaf, short

log = logging.getLogger(__name__)

SERVICE = "_btgateway._udp.local."


class Announcement:
    """One gateway's announcement; follows the addresses of the machine.

    Args:
        credential: who the gateway is.
        udp: its UDP port.
        tls: its TCP port for TLS.
    """

    def __init__(self, credential: Credential, udp: int, tls: int) -> None:
        self._credential = credential
        self._udp = udp
        self._tls = tls
        self._zeroconf: AsyncZeroconf | None = None
        self._own: AsyncServiceInfo | None = None
        self._watch: NetworkWatch | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background: a machine without a network is no reason to wait."""
        self._watch = NetworkWatch(self._changed)
        self._changed()

    async def stop(self) -> None:
        """Say good-bye."""
        if self._watch is not None:
            self._watch.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()

    def _changed(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._announce())

    async def _announce(self) -> None:
        addresses = list(own_addresses())
        if self._own is not None and self._own.parsed_addresses() == addresses:
            return
        who = self._credential
        name = leaf(who.path).replace(".", "-").encode()[:40].decode(errors="ignore")
        service = AsyncServiceInfo(
            SERVICE,
            f"{name} {short(who.principal)}.{SERVICE}",
            port=self._udp,
            properties=self._text(),
            server=f"{who.principal.hex()[:16]}.local.",
            parsed_addresses=addresses,
        )
        try:
            if self._zeroconf is None:
                self._zeroconf = AsyncZeroconf(ip_version=IPVersion.All)
            if self._own is None:
                await self._zeroconf.async_register_service(service, allow_name_change=True)
            else:
                await self._zeroconf.async_update_service(service)
            self._own = service
        except (OSError, Error, RuntimeError) as cause:
            log.warning("cannot announce this gateway by multicast DNS: %s", cause)

    def _text(self) -> dict[str, str]:
        return {"v": "1", "tree": self._credential.tree, "tls": str(self._tls)}
