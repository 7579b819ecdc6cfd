"""What the command line prints: results to standard output, talk to standard error."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from blocktree.fault import Fault

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def say(text: str) -> None:
    """Tell a person something; never part of a result."""
    click.echo(text, err=True, color=colour())


def colour() -> bool | None:
    """What click is told of colours: None leaves it to whether there is a terminal."""
    return False if os.environ.get("NO_COLOR") else None  # no-color.org


def complain(fault: Fault) -> None:
    """Print a fault: what happened, to what, and the next step on a line of its own."""
    place = f"{fault.path}: " if fault.path else ""
    say(click.style("bt: ", fg="red", bold=True) + f"{place}{fault.what}")
    if fault.next_step:
        say(f"    next: {fault.next_step}")


def print_json(kind: str, content: Mapping[str, Any]) -> None:
    """Print one JSON document that names its schema, `bt.<kind>/1`."""
    click.echo(json.dumps({"schema": f"bt.{kind}/1", **content}, indent=2))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns, cut to nothing: a terminal wraps, a script splits on two spaces."""
    lines = [list(heads), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(click.style(text.rstrip(), bold=number == 0 and sys.stdout.isatty()))


def size_text(count: int) -> str:
    """A number of bytes for people: `3.2 MiB`."""
    size = float(count)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """A length of time for people: `340 ms`, `6.2 s`, `3 min 20 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
