"""The devices of a tree: each is a directory, found by its path or by its id.

`/.devices/<id>` is a symbolic link to the device's directory, so that a gateway finds the record of
whoever speaks to it; the record itself lies in that directory. The link is made anew whenever the
record changes: who watches `/.devices` sees every change of every device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocktree.fault import Fault, Kind
from blocktree.files.volume import NodeKind
from blocktree.wire import decode, encode
from blocktree_gateway.tree.records import DeviceRecord, GatewayRecord, Standing
from blocktree_gateway.tree.smallfiles import Place, SmallFiles, said

INDEX: Place = (b".devices",)
GATEWAYS: Place = (b".gateways",)
RECORD = b"device"
_LINKS_MAX = 8


@dataclass(frozen=True, slots=True)
class Device:
    """A device and where it is in the tree."""

    place: Place
    record: DeviceRecord

    @property
    def device(self) -> bytes:
        """Its id."""
        return self.record.device


class Devices:
    """Reads and changes what the tree says of its devices."""

    def __init__(self, files: SmallFiles) -> None:
        self.files = files

    async def stamp(self) -> int:
        """A number that changes whenever one of `marks` does."""
        found = await self.files.find(INDEX)
        return 0 if found is None else found.ctime_ns

    async def marks(self) -> dict[bytes, int]:
        """For each device's id a number that changes whenever something is said of it anew."""
        listed = await self.files.listing(INDEX)
        return {bytes.fromhex(n.decode()): ino for n, ino in listed.items() if _is_id(n)}

    async def all(self) -> Sequence[Device]:
        """Every device whose record can be read."""
        found = [await self.find(each) for each in await self.marks()]
        return [each for each in found if each is not None]

    async def find(self, device: bytes) -> Device | None:
        """The device with this id; None if the tree knows none.

        Raises:
            Fault: MALFORMED or DAMAGED for a record that is none.
        """
        target = await self.files.read_link(_index(device))
        if target is None:
            return None
        names = [part for part in target.split(b"/") if part not in {b"", b".", b".."}]
        found = await self.at(tuple(names))
        return found if found is not None and found.device == device else None

    async def at(self, place: Place) -> Device | None:
        """The device at this place; None if there is none.

        Raises:
            Fault: MALFORMED or DAMAGED for a record that is none.
        """
        encoded = await self.files.read((*place, RECORD))
        if encoded is None:
            return None
        try:
            return Device(place, decode(encoded, DeviceRecord))
        except Fault as fault:
            raise fault.at(said((*place, RECORD))) from None

    async def require(self, place: Place, depth: int = 0) -> Device:
        """The device at this place, or where the device that was here is now.

        Raises:
            Fault: NOT_FOUND, saying what is there instead.
        """
        found = await self.at(place)
        if found is not None:
            return found
        target = await self.files.read_link(place)
        if target is not None and depth < _LINKS_MAX:
            return await self.require(_resolve(place, target), depth + 1)
        there = await self.files.find(place)
        what = "there is nothing here" if there is None else "is not a device"
        raise Fault(Kind.NOT_FOUND, what, path=said(place), next_step="bt device ls")

    async def judge_place(self, device: bytes, place: Place) -> None:
        """Refuse to pair a device at a path that another one has, or that holds something else.

        Raises:
            Fault: EXISTS, saying who is there and what to do.
        """
        there = await self.at(place)
        if there is None:
            found = await self.files.find(place)
            if found is not None and found.kind is NodeKind.FILE:
                step = "choose another path"
                raise Fault(Kind.EXISTS, "is a file", path=said(place), next_step=step)
            return
        if there.device != device and there.record.belongs:
            raise Fault(
                Kind.EXISTS,
                f"belongs to device {there.device.hex()[:8]} already",
                path=said(place),
                next_step="choose another path, move that one (bt device rename), "
                "or take it out first (bt device revoke)",
            )

    async def pair(self, place: Place, record: DeviceRecord) -> Device:
        """Put a device at a path: there already, with a new secret, or moved from elsewhere.

        Raises:
            Fault: EXISTS as `judge_place`.
        """
        await self.judge_place(record.device, place)
        before = await self.find(record.device)
        if before is not None and before.place != place and before.record.belongs:
            raise Fault(
                Kind.EXISTS,
                f"this device is paired as {said(before.place)}",
                path=said(place),
                next_step="move it: bt device rename OLD NEW; or pair it again at its own path",
            )
        if await self.files.read_link(place) is not None:  # of a device that was renamed
            await self.files.remove(place)
        device = Device(place, record)
        await self.save(device)
        return device

    async def save(self, device: Device) -> None:
        """Write a device's record, and have everybody who watches see it, in one transaction."""
        links = {_index(device.device): _target(device.place)}
        await self.files.write((*device.place, RECORD), encode(device.record), links)

    async def rename(self, device: Device, place: Place) -> Device:
        """Move a device with all its history, in one transaction.

        The old path becomes a link to the new one. A link at the new path that leads to this very
        device, since it was there before, is removed first.

        Raises:
            Fault: EXISTS if anything else is at the new path.
        """
        if await self.files.read_link(place) is not None and await self._leads(place, device):
            await self.files.remove(place)
        up = b"../" * (len(device.place) - 1)
        links = {device.place: up + b"/".join(place), _index(device.device): _target(place)}
        await self.files.move(device.place, place, links)
        return replace(device, place=place)

    async def _leads(self, place: Place, device: Device) -> bool:
        try:
            return (await self.require(place)).place == device.place
        except Fault:
            return False

    async def revoke(self, device: Device, reason: str, now: int) -> Device:
        """Take a device out, whether it is on or off; `now` in seconds since 1970."""
        record = replace(device.record, standing=Standing.REVOKED, reason=reason, revoked_s=now)
        revoked = replace(device, record=record)
        await self.save(revoked)
        return revoked

    async def forget(self, device: bytes) -> None:
        """Nobody will look for this id any more."""
        await self.files.remove(_index(device))

    # gateways

    async def gateways(self) -> Sequence[GatewayRecord]:
        """The gateways that may serve devices.

        Raises:
            Fault: MALFORMED or DAMAGED for a record that is none.
        """
        found = []
        for name in await self.files.names(GATEWAYS):
            encoded = await self.files.read((*GATEWAYS, name)) if _is_name(name) else None
            if encoded is not None:
                found.append(decode(encoded, GatewayRecord))
        return found

    async def add_gateway(self, principal: bytes, gateway: GatewayRecord) -> None:
        """Record a gateway, unless the same record is there."""
        place, encoded = (*GATEWAYS, principal.hex().encode()), encode(gateway)
        if await self.files.read(place) != encoded:
            await self.files.write(place, encoded)


def _index(device: bytes) -> Place:
    """Where the link to a device lies."""
    return (*INDEX, device.hex().encode())


def _target(place: Place) -> bytes:
    """What it says."""
    return b"../" + b"/".join(place)


def _is_id(name: bytes) -> bool:
    return len(name) == 64 and _is_name(name)


def _is_name(name: bytes) -> bool:
    return all(byte in b"0123456789abcdef" for byte in name)


def _resolve(place: Place, target: bytes) -> Place:
    """Where a link at `place` leads."""
    names = list(place[:-1])
    for part in target.split(b"/"):
        if part == b"..":
            del names[-1:]
        elif part not in {b"", b"."}:
            names.append(part)
    return tuple(names)
