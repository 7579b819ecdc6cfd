"""`bt read`: the newest reading of a device, and those that follow."""

import json
from collections.abc import Callable
from typing import Any

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.session import Session, run
from blocktree.fault import Fault, Kind
from blocktree.wire import Record, decode
from blocktree_gateway.cli.opening import OpenDevice, open_device, since_text
from blocktree_gateway.devicemessages import GetTail, Tail
from blocktree_gateway.messages import NOWHERE, Checkpoint, Entry, Place, Reading
from blocktree_gateway.stream.columns import read_column, time_text, value_texts
from blocktree_gateway.stream.proof import Told, prove
from blocktree_gateway.tree.streamfile import Item

_WAIT_MS = 10_000
_PATIENCE_S = 20.0


@click.command("read")
@click.argument("path")
@click.option("-f", "--follow", is_flag=True, help="Go on with each new reading.")
@address_option
@json_option
def command(path: str, addresses: tuple[str, ...], *, follow: bool, as_json: bool) -> None:
    """Show the newest reading of a device; each was sealed by the device itself.

    \b
    Examples:
      bt read /home/sensors/attic
      bt read /home/sensors/attic --follow
    """  # noqa: D301
    show = _print_json if as_json else _print

    async def work(session: Session) -> None:
        opened = await open_device(session, path)
        await _read(opened, follow=follow, show=show)

    run(work, addresses, leaderless=False)


async def _read(
    opened: OpenDevice, *, follow: bool, show: Callable[[Told, Tail | None], None]
) -> None:
    items = await _stored(opened)
    tail = await _ask(opened, NOWHERE, 0)
    items += _items(tail)
    proof = prove(items, opened.reader(), whole=False)
    for fault in proof.faults[:1]:
        raise fault
    if not proof.readings and not follow:
        raise Fault(
            Kind.NOT_FOUND,
            "has no reading yet",
            path=opened.text,
            next_step="does it run an app that measures? bt device inspect " + opened.text,
        )
    if proof.readings:
        show(proof.readings[-1], tail)
    last = max((told.place for told in proof.told), default=NOWHERE)
    while follow:
        tail = await _ask(opened, last, _WAIT_MS, must=True)
        fresh = _items(tail)
        items = [*_context(items), *fresh]
        for told in prove(items, opened.reader(), whole=False).readings:
            if told.place > last:
                show(told, tail)
        last = max([last, *(item.place for item in fresh)])


async def _stored(opened: OpenDevice) -> list[Item]:
    """The newest segment, with the one before if it begins with no `Start`."""
    stream = opened.stream()
    items: list[Item] = []
    for segment in reversed(await stream.segments()):
        items = [*await stream.read(segment), *items]
        if len(items) > 1:
            break
    return items


def _context(items: list[Item]) -> list[Item]:
    """What later readings need: the start of their boot, for the columns, and a few before them."""
    return items if len(items) < 2000 else [*items[:200], *items[-200:]]


async def _ask(
    opened: OpenDevice, after: Place, wait_ms: int, *, must: bool = False
) -> Tail | None:
    try:
        return await opened.ask(GetTail(*after, wait_ms), Tail, _PATIENCE_S)
    except Fault:
        if must:
            raise
        return None


def _items(tail: Tail | None) -> list[Item]:
    found: list[Record] = [decode(item, Record) for item in tail.items] if tail else []
    return [item for item in found if isinstance(item, Entry | Checkpoint)]


def _print(told: Told, tail: Tail | None) -> None:
    assert isinstance(told.content, Reading)
    values = "  ".join(value_texts(told.columns, told.content.values))
    parts = [values, f"seq {told.place[1]}"]
    when = since_text(told.time_ms) if tail is None or not tail.link else tail.link
    parts.append(when or "time unknown")
    click.echo("   ".join(parts))


def _print_json(told: Told, tail: Tail | None) -> None:
    assert isinstance(told.content, Reading)
    columns = [read_column(text) for text in told.columns]
    values: dict[str, Any] = {
        c.head: c.number(v) for c, v in zip(columns, told.content.values, strict=False)
    }
    line = {
        "schema": "bt.read/1",
        "time": time_text(told.time_ms) or None,
        "boot": told.place[0],
        "seq": told.place[1],
        "values": values,
        "link": tail.link if tail else "",
    }
    click.echo(json.dumps(line))
