"""`bt history`: what a device measured, and the proof of it."""

import csv
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.exits import exit_code
from blocktree.cli.output import complain, print_json, print_table, say
from blocktree.cli.session import Session, run
from blocktree.fault import Fault, Kind
from blocktree.wire import Record, decode
from blocktree_gateway.cli.opening import OpenDevice, open_device
from blocktree_gateway.devicemessages import GetTail, Tail
from blocktree_gateway.messages import Checkpoint, Entry, Reading, Start
from blocktree_gateway.stream.columns import read_column, time_text, value_texts
from blocktree_gateway.stream.entries import place_text
from blocktree_gateway.stream.proof import Proof, Told, prove
from blocktree_gateway.tree.streamfile import Item

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SINCE = re.compile(r"(\d{1,6})(s|m|min|h|d|w)")


@click.command("history")
@click.argument("path")
@click.option("--since", default="24h", show_default=True, help="15m, 24h, 7d; or `all`.")
@click.option("--verify", is_flag=True, help="Prove that nothing is altered or missing.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@address_option
@json_option
def command(
    *,
    path: str,
    since: str,
    addresses: tuple[str, ...],
    verify: bool,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Show what a device measured.

    With --verify the whole chain is proved, from the device's first entry on: each reading is what
    the device sealed, none is missing, none is out of order, and the device has signed it.

    \b
    Examples:
      bt history /home/sensors/attic --since 15m --verify
      bt history /home/sensors/attic --since 7d --csv > week.csv

    Exit code 4 if something is altered or missing.
    """  # noqa: D301
    begin_ms = since_ms(since)

    async def work(session: Session) -> Proof:
        opened = await open_device(session, path)
        return await load_proof(opened, None if verify else begin_ms)

    proof = run(work, addresses, leaderless=False)
    shown = [t for t in proof.readings if begin_ms is None or (t.time_ms or 0) >= begin_ms]
    if as_json:
        print_json("history", _as_dict(path, shown, proof if verify else None))
    elif as_csv:
        _print_csv(shown)
    else:
        _print(shown)
    return _verdict(path, proof, len(shown), quiet=as_json) if verify else _complaints(proof)


async def load_proof(opened: OpenDevice, begin_ms: int | None) -> Proof:
    """Read a stream from its beginning, or as much of its end as reaches back to `begin_ms`.

    Raises:
        Fault: DENIED for who may not read it; DAMAGED for a segment that is none.
    """
    reader, stream = opened.reader(), opened.stream()
    items: list[Item] = []
    whole = True
    for segment in reversed(await stream.segments()):
        items = [*await stream.read(segment), *items]
        if begin_ms is None:
            continue
        proof = prove(items, reader, whole=False)
        first = next((told.time_ms for told in proof.readings if told.time_ms), None)
        starts = any(isinstance(told.content, Start) for told in proof.told)
        if first is not None and first < begin_ms and starts:
            whole = False
            break
    return prove([*items, *await _tail(opened)], reader, whole=whole)


def since_ms(text: str) -> int | None:
    """The beginning of a time span, in milliseconds since 1970; None for `all`.

    Raises:
        Fault: USAGE.
    """
    if text == "all":
        return None
    match = _SINCE.fullmatch(text)
    if match is None:
        raise Fault(Kind.USAGE, "is no time span", path=text, next_step="15m, 24h, 7d or all")
    return int((time.time() - int(match[1]) * _UNITS[match[2]]) * 1000)


async def _tail(opened: OpenDevice) -> list[Item]:
    """What the gateway has and the tree has not yet, if a gateway answers."""
    try:
        tail = await opened.ask(GetTail(0, 0), Tail, 3.0)
    except Fault:
        return []
    items = [decode(item, Record) for item in tail.items]
    return [item for item in items if isinstance(item, Entry | Checkpoint)]


def _print(shown: Sequence[Told]) -> None:
    heads = [read_column(text).head for text in shown[-1].columns] if shown else []
    rows = [
        (
            time_text(told.time_ms) or "unknown",
            str(told.place[0]),
            str(told.place[1]),
            *_values(told),
        )
        for told in shown
    ]
    print_table(("TIME", "BOOT", "SEQ", *(head.upper() for head in heads)), _even(rows, len(heads)))


def _even(rows: list[tuple[str, ...]], columns: int) -> list[tuple[str, ...]]:
    """Rows of one width: an app before may have had other columns."""
    width = columns + 3
    return [(*row, *("",) * width)[:width] for row in rows]


def _values(told: Told) -> list[str]:
    assert isinstance(told.content, Reading)
    return value_texts(told.columns, told.content.values)


def _numbers(told: Told) -> list[str]:
    assert isinstance(told.content, Reading)
    columns = map(read_column, told.columns)
    return [c.number(v) for c, v in zip(columns, told.content.values, strict=False)]


def _print_csv(shown: Sequence[Told]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    heads: tuple[str, ...] | None = None
    for told in shown:
        if told.columns != heads:
            heads = told.columns
            writer.writerow(["time", "boot", "seq", *(read_column(text).head for text in heads)])
        writer.writerow([time_text(told.time_ms), *told.place, *_numbers(told)])


def _as_dict(path: str, shown: Sequence[Told], proof: Proof | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "path": path,
        "readings": [
            {
                "time": time_text(told.time_ms) or None,
                "boot": told.place[0],
                "seq": told.place[1],
                "values": dict(
                    zip((read_column(t).head for t in told.columns), _numbers(told), strict=False)
                ),
            }
            for told in shown
        ],
    }
    if proof is not None:
        said["proof"] = {
            "holds": proof.holds,
            "missing": proof.missing,
            "gaps": [[list(first), list(last)] for first, last in proof.gaps],
            "faults": [str(fault) for fault in proof.faults],
            "signed_to": proof.signed_to,
        }
    return said


def _verdict(path: str, proof: Proof, shown: int, *, quiet: bool) -> int:
    for fault in proof.faults[:20]:
        complain(Fault(fault.kind, fault.what, path=f"{path} {fault.path}"))
    for first, last in proof.gaps[:20]:
        run_text = place_text(first) if first == last else f"{place_text(first)} to seq {last[1]}"
        complain(Fault(Kind.DAMAGED, f"is missing: {run_text}", path=path))
    signed = f"signed by the device to {place_text(proof.signed_to)}" if proof.signed_to else ""
    chain = "chain ok" if not proof.faults else f"{len(proof.faults)} damaged"
    if not quiet:
        parts = [f"{shown} readings", f"gaps {proof.missing}", chain, signed or "not signed yet"]
        say("   ".join(parts))
    return 0 if proof.holds else exit_code(Kind.DAMAGED)


def _complaints(proof: Proof) -> int:
    for fault in proof.faults[:5]:
        complain(fault)
    return exit_code(Kind.DAMAGED) if proof.faults else 0
