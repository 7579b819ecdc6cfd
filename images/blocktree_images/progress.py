"""What a person sees of long work: one line a step, and on a terminal what it does right now."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

import click

from blocktree.cli.output import duration_text, say
from blocktree_images.programs import Watch, silent

_WIDTH = 70


class Told:
    """One step while it runs.

    Args:
        watch: told each line of what programs print.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.result = ""


@contextlib.contextmanager
def step(what: str) -> Iterator[Told]:
    """Tell of one step: how long it took, and `result` if the step sets it."""
    begun = time.monotonic()
    with _live(what) as watch:
        told = Told(watch)
        yield told
    seconds = duration_text(time.monotonic() - begun)
    mark = click.style("✓ ", fg="green")
    say(f"{mark}{what}: {told.result or 'done'} in {seconds}")


@contextlib.contextmanager
def _live(what: str) -> Iterator[Watch]:
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield silent
        return
    from rich.console import Console  # noqa: PLC0415 - costs a tenth of a second
    from rich.markup import escape  # noqa: PLC0415

    console = Console(stderr=True)
    with console.status(f"{what} …") as status:
        yield lambda line: status.update(f"{what} … [dim]{escape(line[:_WIDTH])}[/dim]")
