"""A device as a command sees it: found in its tree, asked through whoever speaks for it."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from blocktree.cli.places import TreePlace, here
from blocktree.cli.session import OpenTree, Session
from blocktree.cli.treepaths import TreePath, parse_tree_path, printable
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree.wire import Record
from blocktree_gateway.pairing import vouch
from blocktree_gateway.stream.entries import Reader
from blocktree_gateway.tree.devices import Device, Devices
from blocktree_gateway.tree.smallfiles import Place, SmallFiles
from blocktree_gateway.tree.streamfile import StreamFile

_R = TypeVar("_R", bound=Record)
ASK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A device of an open tree."""

    tree: OpenTree
    devices: Devices
    device: Device

    @property
    def text(self) -> str:
        """Its path for people."""
        return place_text(self.tree.place, self.device.place)

    @property
    def path(self) -> Path:
        """Its path."""
        return tree_path(self.tree, self.device.place)

    async def ask(self, message: Record, expect: type[_R], timeout: float = ASK_SECONDS) -> _R:
        """Ask the gateway that speaks for it.

        Raises:
            Fault: UNREACHABLE, saying what to start; what the gateway says.
        """
        runtime, record = self.tree.client.runtime, self.device.record
        if not record.belongs:
            reason = f": {record.reason}" if record.reason else ""
            raise Fault(
                Kind.DENIED,
                f"was revoked{reason}",
                path=self.text,
                next_step=f"take it back: bt device pair PORT|ADDR {self.text}",
            )
        try:
            return await runtime.ask(self.path, message, expect, timeout=timeout)
        except Fault as fault:
            if fault.kind is Kind.UNREACHABLE:
                raise Fault(
                    Kind.UNREACHABLE,
                    "no gateway speaks for it now",
                    path=self.text,
                    next_step="bt gateway status; start one: bt gateway up",
                ) from None
            raise

    def reader(self) -> Reader:
        """Opens its readings.

        Raises:
            Fault: DENIED if this user was not given its reading secret.
        """
        record = self.device.record
        secrets = record.reading_secrets(self.tree.client.user.key)
        if not secrets:
            raise Fault(
                Kind.DENIED,
                "this user may not read its readings",
                path=self.text,
                next_step="who paired it can give the right: bt device rotate-key",
            )
        return Reader(record.device, secrets, record.principal)

    def vouch(self, content: bytes) -> bytes:
        """The proof that this user may put an app on it.

        Raises:
            Fault: DENIED if he was not given its reading secret.
        """
        record = self.device.record
        secret = record.reading_secrets(self.tree.client.user.key).get(record.epoch)
        if secret is None:
            raise Fault(
                Kind.DENIED,
                "only who may read its readings may put apps on it",
                path=self.text,
                next_step="who paired it can give the right: bt device rotate-key",
            )
        return vouch(record.device, secret, record.epoch, hashlib.sha256(content).digest())

    def stream(self) -> StreamFile:
        """Its stream in the tree."""
        return StreamFile(self.devices.files, self.device.place)


async def open_device(session: Session, text: str) -> OpenDevice:
    """The device at a path as it was typed.

    Raises:
        Fault: NOT_FOUND, saying what is there instead.
    """
    where = parse_tree_path(text, here())
    tree, devices = await open_devices(session, where.place)
    try:
        device = await devices.require(where.names)
    except Fault as fault:
        fault.path = text
        raise
    return OpenDevice(tree, devices, device)


async def open_devices(session: Session, place: TreePlace) -> tuple[OpenTree, Devices]:
    """The devices of a tree."""
    tree = await session.tree(place)
    return tree, Devices(SmallFiles(tree.files))


def target(text: str) -> TreePath:
    """The path of a device to be, as it was typed.

    Raises:
        Fault: USAGE for the root of a tree, or names that are not text.
    """
    where = parse_tree_path(text, here())
    if not where.names:
        step = f"/{where.place.alias}/sensors/NAME"
        raise Fault(Kind.USAGE, "a device lies below the tree's root", path=text, next_step=step)
    return where


def tree_path(tree: OpenTree, place: Place) -> Path:
    """A place as a path of the tree."""
    names = [name.decode() for name in place]
    return Path("/" + "/".join([tree.client.user.tree, *names]))


def place_text(tree: TreePlace, place: Iterable[bytes]) -> str:
    """A place for people."""
    return "/" + "/".join([tree.alias, *map(printable, place)])


def ago_text(seconds: float) -> str:
    """How long ago, for people: `3 s ago`."""
    if seconds < 1:
        return "now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def since_text(time_ms: int | None) -> str:
    """How long ago a time was; nothing if it is not known."""
    return "" if time_ms is None else ago_text(max(0.0, time.time() - time_ms / 1000))
