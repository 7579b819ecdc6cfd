"""Who is on this network: `_blocktree._tcp` by DNS-SD over multicast DNS (RFC 6762, RFC 6763).

What is found is a hint and nothing more: every address is proved by the TLS handshake. Everything
kept is bounded (`FOUND_MAX`, `ADDRESSES_MAX`): anybody on the network can announce anything.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable

from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from blocktree.keys import Credential
from blocktree.link.announcement import SERVICE, Found, instance_name, read_text, write_text
from blocktree.link.network import NetworkWatch, own_addresses
from blocktree.names import Path

log = logging.getLogger(__name__)

FOUND_MAX = 256  # processes remembered
RESOLVE_MS = 3000
RESOLVING_MAX = 64  # names being looked up at once


class Discovery:
    """Announces one process and keeps a list of the others of its tree.

    `addresses` is a source for `Links`.

    Args:
        credential: who is announced, and of which tree the others are.
        port: where it listens; 0 announces nothing and only browses.
        seeds: addresses from `--addr`, offered for every path.
        on_found: told of every new or changed process; `Links.refresh` wants to know its path.
    """

    def __init__(
        self,
        credential: Credential,
        port: int = 0,
        *,
        seeds: Iterable[str] = (),
        on_found: Callable[[Found], None] | None = None,
    ) -> None:
        self.seeds = tuple(seeds)
        self._credential = credential
        self._port = port
        self._on_found = on_found
        self._found: dict[str, Found] = {}  # by instance name, the oldest first
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._own: AsyncServiceInfo | None = None
        self._watch: NetworkWatch | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by instance name; "" is the network's
        self._network_changed = False
        self._stopped = False

    @property
    def found(self) -> tuple[Found, ...]:
        """Every process that is announced now."""
        return tuple(self._found.values())

    def addresses(self, path: Path) -> tuple[str, ...]:
        """Where the process at `path` may be reached: announced addresses, then the seeds."""
        announced = [found.addresses for found in self._found.values() if found.path == path]
        return tuple(dict.fromkeys([*(one for many in announced for one in many), *self.seeds]))

    async def start(self) -> None:
        """Begin to announce and to browse; the announcement takes a second or two to be out.

        Without a usable network this says so in the log and waits for one: addresses then come
        from elsewhere, such as the seeds.
        """
        if self._stopped:
            return
        self._watch = NetworkWatch(self._network_may_have_changed)
        await self._open()
        self._network_may_have_changed()

    async def stop(self) -> None:
        """Say good-bye on the network and forget."""
        self._stopped = True
        if self._watch is not None:
            self._watch.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()
        self._found.clear()

    # ---- our own announcement

    async def _open(self) -> None:
        try:
            self._zeroconf = zeroconf = AsyncZeroconf(ip_version=IPVersion.All)
            await zeroconf.zeroconf.async_wait_for_start()
        except (OSError, Error, RuntimeError) as cause:
            log.warning("no multicast DNS here for now: %s", cause)
            self._zeroconf = None
            return
        if self._zeroconf is not zeroconf:  # stopped meanwhile
            return
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[self._heard])

    async def _announce(self) -> None:
        text = write_text(self._credential)
        if not self._port or self._zeroconf is None or text is None:
            return
        name = self._own.name if self._own else instance_name(self._credential)
        own = AsyncServiceInfo(
            SERVICE,
            name,
            port=self._port,
            properties=text,
            server=f"{self._credential.principal.hex()[:16]}.local.",
            parsed_addresses=list(own_addresses()),
        )
        try:
            if self._own is None:
                sent = await self._zeroconf.async_register_service(own, allow_name_change=True)
            else:
                sent = await self._zeroconf.async_update_service(own)
            self._own = own
            await sent
        except (OSError, Error) as cause:
            log.warning("cannot announce this process by multicast DNS: %s", cause)

    def _network_may_have_changed(self) -> None:
        self._network_changed = True
        if "" not in self._tasks:
            self._begin("", self._follow_network())

    async def _follow_network(self) -> None:
        while self._network_changed:
            self._network_changed = False
            if self._zeroconf is None:
                await self._open()
            if self._zeroconf is None:
                continue
            await self._zeroconf.async_update_interfaces()
            if self._own is None or self._own.parsed_addresses() != list(own_addresses()):
                await self._announce()

    # ---- the others' announcements

    def _heard(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        assert service_type == SERVICE
        if self._own is not None and name == self._own.name:
            return
        if state_change is ServiceStateChange.Removed:
            self._found.pop(name, None)
        elif name not in self._tasks and len(self._tasks) < RESOLVING_MAX:
            self._begin(name, self._resolve(zeroconf, name))

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        service = AsyncServiceInfo(SERVICE, name)
        try:
            answered = await service.async_request(zeroconf, RESOLVE_MS)
        except (OSError, Error) as cause:  # the network went, or we are leaving it
            log.info("%s was not looked up: %s", name, cause)
            return
        if not answered:
            return
        hosts = service.parsed_scoped_addresses()
        found = read_text(service.properties, self._credential.tree, hosts, service.port or 0)
        if found is None or found == self._found.get(name):
            return
        self._found.pop(name, None)
        if len(self._found) >= FOUND_MAX:
            del self._found[next(iter(self._found))]
        self._found[name] = found
        log.info("found %s at %s", found.path, ", ".join(found.addresses))
        if self._on_found is not None:
            self._on_found(found)

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        if self._stopped:  # what is still called back is too late
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._finished(name, done))

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled() and task.exception() is not None:
            log.error("discovery failed for %r", name, exc_info=task.exception())
