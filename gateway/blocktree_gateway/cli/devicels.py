"""`bt device ls`: the devices of a tree, and how they are."""

import asyncio
from dataclasses import dataclass
from typing import Any

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.cli.session import OpenTree, Session, run
from blocktree.fault import Fault
from blocktree_gateway.cli.opening import ago_text, open_devices, place_text, tree_path
from blocktree_gateway.devicemessages import DeviceState, GetDevice
from blocktree_gateway.pairing import fingerprint
from blocktree_gateway.tree.devices import Device

_ASK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Row:
    """A device and what its gateway says, or why none does."""

    tree: OpenTree
    device: Device
    state: DeviceState | Fault

    @property
    def word(self) -> str:
        """One word for how it is."""
        if not self.device.record.belongs:
            return "revoked"
        if isinstance(self.state, Fault):
            return "no gateway"
        if self.state.link:
            return self.state.link
        return "asleep" if self.state.asleep_ms else "away"


@click.command("ls")
@click.argument("tree", default="")
@address_option
@json_option
def command(tree: str, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """List the devices of a tree.

    \b
    Examples:
      bt device ls
      bt device ls --json
    """  # noqa: D301
    place = here().tree_place(tree.strip("/")) if tree else here().only_tree()

    async def work(session: Session) -> list[Row]:
        opened, devices = await open_devices(session, place)
        found = sorted(await devices.all(), key=lambda each: each.place)
        states = await asyncio.gather(*(_state(opened, each) for each in found))
        return [Row(opened, each, state) for each, state in zip(found, states, strict=True)]

    rows = run(work, addresses, leaderless=False)
    if as_json:
        print_json("device.ls", {"devices": [as_dict(row) for row in rows]})
        return
    if not rows:
        say("No devices yet. Next: bt device scan")
        return
    heads = ("DEVICE", "STATE", "HEARD", "BOARD", "APP", "FINGERPRINT")
    print_table(heads, [_line(row) for row in rows])


async def _state(tree: OpenTree, device: Device) -> DeviceState | Fault:
    path, runtime = tree_path(tree, device.place), tree.client.runtime
    try:
        return await runtime.ask(path, GetDevice(), DeviceState, timeout=_ASK_SECONDS)
    except Fault as fault:
        return fault


def as_dict(row: Row) -> dict[str, Any]:
    """A device for programs."""
    record, state = row.device.record, row.state
    said: dict[str, Any] = {
        "path": place_text(row.tree.place, row.device.place),
        "id": record.device.hex(),
        "fingerprint": fingerprint(record.device),
        "state": row.word,
        "board": record.board,
        "epoch": record.epoch,
        "paired": record.paired_s,
        "paired_by": record.paired_by,
        "reason": record.reason,
    }
    if isinstance(state, DeviceState):
        names = [name for name in DeviceState.__slots__ if name not in {"device", "gateway"}]
        said |= {name: getattr(state, name) for name in names}
        said["gateway"] = state.gateway
    return said


def _line(row: Row) -> tuple[str, ...]:
    state, heard, app = row.state, "-", "-"
    if isinstance(state, DeviceState):
        heard = ago_text(state.heard_ms / 1000) if state.heard_ms >= 0 else "-"
        app = state.app or "-"
    return (
        place_text(row.tree.place, row.device.place),
        row.word,
        heard,
        row.device.record.board or "-",
        app,
        fingerprint(row.device.record.device),
    )
