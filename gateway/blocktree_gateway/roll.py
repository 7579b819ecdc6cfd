"""The devices that a gateway may serve, as the tree says now: looked at again every second.

One look costs one question about `/.devices`; only what changed is read again. So a revocation is
known within a second, also to a gateway that the device does not talk to yet.
"""

import logging
from dataclasses import dataclass, field

from blocktree.fault import Fault
from blocktree.keys import Key
from blocktree_gateway.tree.devices import Device, Devices

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """A device, and what this gateway can open of it."""

    device: Device
    secrets: dict[int, bytes]  # link secrets by epoch

    @property
    def id(self) -> bytes:
        """The device's id."""
        return self.device.record.device

    @property
    def belongs(self) -> bool:
        """Whether it may be served, and can be."""
        return self.device.record.belongs and bool(self.secrets)

    @property
    def epochs(self) -> set[int]:
        """Those whose secrets it may use, whoever can open them."""
        record = self.device.record
        return {each.epoch for each in record.secrets if each.epoch >= record.epoch}


@dataclass(slots=True)
class Roll:
    """All devices, by id and by hint.

    Args:
        devices: where they are recorded.
        key: this gateway's, which opens link secrets.
    """

    devices: Devices
    key: Key
    by_id: dict[bytes, Known] = field(default_factory=dict)
    by_hint: dict[bytes, Known] = field(default_factory=dict)
    version: int = 0  # goes up with each change
    _marks: dict[bytes, int] = field(default_factory=dict)
    _stamp: int | None = None  # of the directory, when it was last looked through

    async def refresh(self) -> set[bytes]:
        """Look again; the ids of devices that came, changed or went.

        Raises:
            Fault: if the tree cannot be asked.
        """
        stamp = await self.devices.stamp()
        if stamp == self._stamp:
            return set()
        marks = await self.devices.marks()
        changed = {each for each, mark in marks.items() if self._marks.get(each) != mark}
        gone = self._marks.keys() - marks.keys()
        for each in gone:
            self._drop(each)
        for each in changed:
            await self._read(each, marks[each])
        self.version += 1
        self._stamp = stamp
        return changed | gone

    async def _read(self, device: bytes, mark: int) -> None:
        try:
            found = await self.devices.find(device)
        except Fault as fault:
            log.warning("the record of device %s cannot be used: %s", device.hex()[:16], fault)
            found = None
        self._drop(device)
        self._marks[device] = mark
        if found is not None:
            known = Known(found, found.record.link_secrets(self.key))
            self.by_id[device] = self.by_hint[found.record.hint] = known

    def _drop(self, device: bytes) -> None:
        known = self.by_id.pop(device, None)
        self._marks.pop(device, None)
        if known is not None:
            self.by_hint.pop(known.device.record.hint, None)
