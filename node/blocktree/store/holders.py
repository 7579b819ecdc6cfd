"""Who likely caches the sectors of a file: the processes that asked for its header lately.

Bounded twice: the oldest files are forgotten first, and of each file only the latest askers stay.
A wrong guess costs the reader one unanswered question, so nothing here is exact.
"""

from collections import OrderedDict

from blocktree.names import FileId, Path

FILES_MAX = 1 << 15
OF_ONE_FILE_MAX = 4


class Holders:
    """For each file, up to four processes, latest last."""

    def __init__(self) -> None:
        self._files: OrderedDict[FileId, tuple[Path, ...]] = OrderedDict()

    def of(self, file: FileId, *, but: Path) -> tuple[Path, ...]:
        """The processes worth asking, without the asker itself."""
        known = self._files.get(file, ())
        return known if but not in known else tuple(path for path in known if path != but)

    def saw(self, file: FileId, process: Path) -> None:
        """`process` reads or writes this file."""
        known = self._files.pop(file, ())
        if not known or known[-1] != process:
            known = (*(path for path in known if path != process), process)[-OF_ONE_FILE_MAX:]
        self._files[file] = known
        if len(self._files) > FILES_MAX:
            self._files.popitem(last=False)
