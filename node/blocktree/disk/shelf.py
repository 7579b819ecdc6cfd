"""Open segment files, a bounded number of them, for reading from any thread."""

import threading
from collections import OrderedDict

from blocktree.disk.files import File, Files
from blocktree.disk.segment import segment_name

_OPEN_MAX = 64


class Shelf:
    """Segments by number. A file that falls off closes when its last reader is done with it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: OrderedDict[int, File] = OrderedDict()
        self._lock = threading.Lock()

    def reader(self, number: int) -> File:
        """The segment's file; FileNotFoundError if it was removed."""
        with self._lock:
            file = self._open.get(number)
            if file is not None:
                self._open.move_to_end(number)
                return file
        file = self._files.open(segment_name(number))
        self.add(number, file)
        return file

    def add(self, number: int, file: File) -> None:
        """Keep an open file at hand."""
        with self._lock:
            self._open[number] = file
            if len(self._open) > _OPEN_MAX:
                self._open.popitem(last=False)

    def forget(self, number: int) -> None:
        """The segment is about to be removed."""
        with self._lock:
            self._open.pop(number, None)

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._open.clear()
