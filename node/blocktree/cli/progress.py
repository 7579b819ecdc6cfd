"""How far a long copy is, on a terminal; nothing anywhere else."""

import contextlib
import os
import sys
from collections.abc import Iterator


class Progress:
    """Counts; draws nothing."""

    def __init__(self) -> None:
        self.files_found = 0
        self.bytes_found = 0
        self.files_done = 0
        self.bytes_done = 0

    def found(self, size: int) -> None:
        """There is one more file to copy, of so many bytes."""
        self.files_found += 1
        self.bytes_found += size
        self._show()

    def moved(self, size: int) -> None:
        """So many bytes more were handed over."""
        self.bytes_done += size
        self._show()

    def finished(self) -> None:
        """One more file is copied."""
        self.files_done += 1
        self._show()

    def _show(self) -> None:
        pass


class Bar(Progress):
    """Draws a bar on standard error, by rich."""

    def __init__(self, what: str) -> None:
        super().__init__()
        from rich.console import Console  # noqa: PLC0415 - costs a tenth of a second
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress  # noqa: PLC0415

        self.drawn = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[files]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.drawn.add_task(what, total=None, files="")

    def _show(self) -> None:
        files = f"{self.files_done:,}/{self.files_found:,} files" if self.files_found > 1 else ""
        self.drawn.update(
            self._task,
            completed=self.bytes_done,
            total=max(self.bytes_found, self.bytes_done),
            files=files,
        )


@contextlib.contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A bar while it lasts if standard error is a terminal, otherwise only the counts."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Progress()
        return
    bar = Bar(what)
    with bar.drawn:
        yield bar
