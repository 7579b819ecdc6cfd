"""The network addresses of one machine, and being told when they change."""

import asyncio
import contextlib
import ipaddress
import socket
import sys
from collections.abc import Callable

import ifaddr

POLL_S = 15.0  # between looks, where the kernel does not tell
SETTLE_S = 0.5  # after the kernel told: changes come in bursts
_NETLINK_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR; see rtnetlink(7)


def own_addresses() -> tuple[str, ...]:
    """The addresses that others may reach us at, the likeliest first.

    IPv4, then IPv6 of wider scope, then IPv6 of one link only; loopback if there is nothing else.
    """
    found = [
        ipaddress.ip_address(address.ip if isinstance(address.ip, str) else address.ip[0])
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
    ]
    outward = [one for one in found if not one.is_loopback]
    ranked = sorted(outward or found, key=lambda one: (one.version, one.is_link_local))
    return tuple(dict.fromkeys(str(one).partition("%")[0] for one in ranked))


class NetworkWatch:
    """Calls `on_change` (soon) after an interface or address came or went, or may have."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._kernel = _open_netlink()
        if self._kernel is not None:
            self._loop.add_reader(self._kernel, self._told)
        else:
            self._timer = self._loop.call_later(POLL_S, self._changed)

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._kernel is not None:
            self._loop.remove_reader(self._kernel)
            self._kernel.close()

    def _told(self) -> None:
        assert self._kernel is not None
        with contextlib.suppress(OSError):  # also ENOBUFS: told more than fits, which is a change
            self._kernel.recv(1 << 16)
        if self._timer is None:
            self._timer = self._loop.call_later(SETTLE_S, self._changed)

    def _changed(self) -> None:
        again = self._kernel is None
        self._timer = self._loop.call_later(POLL_S, self._changed) if again else None
        self._on_change()


def _open_netlink() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except OSError:
        return None
    try:
        kernel.bind((0, _NETLINK_GROUPS))
    except OSError:
        kernel.close()
        return None
    return kernel
